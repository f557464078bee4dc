"""Policies small enough that every response can be scored: tables, linear features, a transformer.

Each is a float64 ``nn.Module`` whose ``log_probs()`` gives log pi(y|x) for all X prompts and Y
responses at once, ``(X, Y)`` in nats, every row normalised.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from dpo_edu import _checks, distributions
from dpo_edu.sequences import SequenceSpace

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
CHUNK = 256  # responses whose slopes are found at a time


def _log_reference(ref: ArrayLike) -> Tensor:
    """log pi_ref as a float64 tensor ``(X, Y)``; exactly minus infinity where pi_ref is zero."""
    p = _checks.policy("ref", ref)
    if p.ndim > 2:
        raise _checks.error("ref", "shape (Y,) or (X, Y)", f"shape {p.shape}")
    return torch.tensor(distributions.log_of(p.reshape(-1, p.shape[-1])))


class TabularPolicy(nn.Module):
    """One free parameter for each response to each prompt: the complete policy class.

    ``log pi(y|x) = log pi_ref(y|x) + theta[x, y] - log sum_k pi_ref(k|x) exp(theta[x, k])``

    Parameters
    ----------
    ref : reference policy ``(Y,)`` or ``(X, Y)``, probabilities. A zero stays exactly zero.

    Attributes
    ----------
    theta : parameter ``(X, Y)``, nats, zero at first: the policy starts at `ref`. At pi* it is
        r/beta up to a constant for each prompt.

    Raises
    ------
    ValueError
        If `ref` is not a policy of one of these shapes.

    Source: claims L4 and T1.

    >>> TabularPolicy([0.25, 0.75]).log_probs().exp()
    tensor([[0.2500, 0.7500]], dtype=torch.float64, grad_fn=<ExpBackward0>)
    """

    log_ref: Tensor

    def __init__(self, ref: ArrayLike) -> None:
        super().__init__()
        self.register_buffer("log_ref", _log_reference(ref))
        self.theta = nn.Parameter(torch.zeros_like(self.log_ref))

    def log_probs(self) -> Tensor:
        """log pi(y|x) of every response to every prompt, ``(X, Y)``, nats."""
        return functional.log_softmax(self.log_ref + self.theta, dim=-1)


class LogLinearPolicy(nn.Module):
    """Responses share K parameters through features: a policy class that is not complete.

    ``log pi(y|x) = log pi_ref(y|x) + features[x, y] . theta - log Z(x)``

    Parameters
    ----------
    features : array ``(Y, K)``, the same for every prompt, or ``(X, Y, K)``; no unit.
    ref : reference policy ``(Y,)`` or ``(X, Y)``, probabilities. A zero stays exactly zero.

    Attributes
    ----------
    theta : parameter ``(K,)``, nats, zero at first: the policy starts at `ref`.

    Raises
    ------
    ValueError
        If `ref` is not a policy, a feature is not finite, or the shapes do not fit.

    Source: the shared parameters of claims O1 and D7.

    >>> LogLinearPolicy([[0.0], [1.0]], [0.25, 0.75]).log_probs().exp()
    tensor([[0.2500, 0.7500]], dtype=torch.float64, grad_fn=<ExpBackward0>)
    """

    log_ref: Tensor
    features: Tensor

    def __init__(self, features: ArrayLike, ref: ArrayLike) -> None:
        super().__init__()
        log_ref = _log_reference(ref)
        f = _checks.finite("features", features)
        prompts, responses = log_ref.shape
        if f.shape[:-1] not in ((responses,), (1, responses), (prompts, responses)):
            expected = f"shape ({responses}, K) or ({prompts}, {responses}, K) to fit ref"
            raise _checks.error("features", expected, f"shape {f.shape}")
        self.register_buffer("log_ref", log_ref)
        self.register_buffer("features", torch.tensor(f))
        self.theta = nn.Parameter(torch.zeros(f.shape[-1], dtype=torch.float64))

    def log_probs(self) -> Tensor:
        """log pi(y|x) of every response to every prompt, ``(X, Y)``, nats."""
        return functional.log_softmax(self.log_ref + self.features @ self.theta, dim=-1)


def _attend_to_ancestors(query: Tensor, key: Tensor, value: Tensor, lineages: Tensor) -> Tensor:
    """Attention of each prefix to itself and its ancestors, all ``(X, heads, prefixes, size)``.

    The children of a prefix stand together and share all keys but their own: those of its lineage.
    """
    prompts, heads, prefixes, size = query.shape
    parents, depth = lineages.shape
    among = (prompts, heads, parents, (prefixes - 1) // max(parents, 1))
    seen = lineages.clamp(min=0).flatten()

    def above(each: Tensor) -> Tensor:
        rows = each.permute(2, 0, 1, 3).reshape(prefixes, -1).index_select(0, seen)
        return rows.view(parents, depth, prompts, heads, size).permute(2, 3, 0, 1, 4)

    query = query[:, :, 1:] / math.sqrt(size)
    own = (query * key[:, :, 1:]).sum(dim=-1).view(*among, 1)
    score = query.view(*among, size) @ above(key).mT
    score = score.masked_fill(lineages[:, None] < 0, -torch.inf)
    weight = torch.cat([score, own], dim=-1).softmax(dim=-1)
    heard = weight[..., :-1] @ above(value)
    heard = heard + weight[..., -1:] * value[:, :, 1:].view(*among, size)
    return torch.cat([value[:, :, :1], heard.view(query.shape)], dim=2)


def _attend_to_earlier(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each place of one response to itself and those before."""
    score = query @ key.mT / math.sqrt(query.shape[-1])
    later = torch.ones(score.shape[-2:], dtype=torch.bool, device=score.device).triu(1)
    return score.masked_fill(later, -torch.inf).softmax(dim=-1) @ value


class _Block(nn.Module):
    """Attention to what each place may see, then a two-layer perceptron, both residual."""

    def __init__(self, width: int, heads: int, layers: int, draws: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, dtype=torch.float64)
        self.query_key_value = _linear(width, 3 * width, draws)
        # Branches that add to the stream start smaller the more of them there are (as in GPT-2).
        self.attention_out = _linear(width, width, draws, scale=(2 * layers) ** -0.5)
        self.perceptron_norm = nn.LayerNorm(width, dtype=torch.float64)
        self.perceptron_in = _linear(width, 4 * width, draws)
        self.perceptron_out = _linear(4 * width, width, draws, scale=(2 * layers) ** -0.5)

    def forward(self, stream: Tensor, attend: Attention) -> Tensor:
        prompts, prefixes, width = stream.shape
        mixed = self.query_key_value(self.attention_norm(stream))
        per_head = mixed.view(prompts, prefixes, 3, self.heads, width // self.heads)
        query, key, value = per_head.permute(2, 0, 3, 1, 4)
        heard = attend(query, key, value).transpose(1, 2).reshape(prompts, prefixes, width)
        stream = stream + self.attention_out(heard)
        hidden = functional.gelu(self.perceptron_in(self.perceptron_norm(stream)))
        result: Tensor = stream + self.perceptron_out(hidden)
        return result


def _linear(inputs: int, outputs: int, draws: torch.Generator, scale: float = 1.0) -> nn.Linear:
    """A linear layer with normal weights of variance scale^2/inputs and zero bias.

    Built without memory first: the usual constructor would draw from torch's global generator.
    """
    layer = nn.Linear(inputs, outputs, device="meta", dtype=torch.float64).to_empty(device="cpu")
    nn.init.normal_(layer.weight, std=scale / math.sqrt(inputs), generator=draws)
    nn.init.zeros_(layer.bias)
    return layer


class TinyTransformer(nn.Module):
    """A decoder-only transformer over a whole `SequenceSpace`, every prefix computed once.

    ``log pi(y|x) = sum_t log pi(y_t | y_1 ... y_(t-1), x)``, the sum over the tokens of y, the end
    token included. In the tree of prefixes each attends to its ancestors and itself; a token's
    position is its depth, and the root's embedding tells the prompts apart.

    Parameters
    ----------
    space : the responses to score.
    prompts : number of prompts X >= 1.
    layers, width, heads : size of the network; `width` is a multiple of `heads`.
    seed : of the initial weights; the same seed gives the same policy, and torch's global generator
        is left alone.

    Raises
    ------
    ValueError
        If `space` is not a SequenceSpace, a size not a whole number >= 1, `width` not a multiple of
        `heads`, or `seed` not a whole number >= 0.

    Source: Radford et al. 2019 for the network; claim T2.

    >>> policy = TinyTransformer(SequenceSpace(3, 2), prompts=2)
    >>> total = policy.log_probs().exp().sum(dim=-1)
    >>> policy.log_probs().shape, bool((total - 1).abs().max() < 1e-12)
    (torch.Size([2, 9]), True)
    """

    lineages: Tensor
    depths: Tensor
    tokens: Tensor
    edges: Tensor

    def __init__(
        self,
        space: SequenceSpace,
        *,
        prompts: int = 1,
        layers: int = 2,
        width: int = 32,
        heads: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(space, SequenceSpace):
            raise _checks.error("space", "a SequenceSpace", type(space).__name__)
        prompts, layers = (
            _checks.positive_int("prompts", prompts),
            _checks.positive_int("layers", layers),
        )
        width, heads = _checks.positive_int("width", width), _checks.positive_int("heads", heads)
        if width % heads:
            raise _checks.error("width", f"a multiple of heads = {heads}", str(width))
        self.space = space
        self._register_tree(space)
        draws = torch.Generator().manual_seed(_seed(seed))
        self.prompt_embedding = _embedding(prompts, width, draws)
        self.token_embedding = _embedding(space.branching, width, draws)
        self.depth_embedding = _embedding(space.length, width, draws)
        self.blocks = nn.ModuleList(_Block(width, heads, layers, draws) for _ in range(layers))
        self.norm = nn.LayerNorm(width, dtype=torch.float64)
        self.next_token = _linear(width, space.vocabulary, draws)

    def _register_tree(self, space: SequenceSpace) -> None:
        # Copies: the arrays of the space are read-only, a module's buffers move between devices.
        self.register_buffer("lineages", torch.tensor(space.lineages), persistent=False)
        self.register_buffer("depths", torch.tensor(space.depths), persistent=False)
        self.register_buffer("tokens", torch.tensor(space.tokens), persistent=False)
        self.register_buffer("edges", torch.tensor(space.edges), persistent=False)

    def next_token_log_probs(self) -> Tensor:
        """log pi(next token | prefix, x), ``(X, prefixes, vocabulary)``, nats."""
        prompts = len(self.prompt_embedding)
        words = self.token_embedding[self.tokens[1:]].expand(prompts, -1, -1)
        stream = torch.cat([self.prompt_embedding[:, None], words], dim=1)
        stream = stream + self.depth_embedding[self.depths]
        attend = partial(_attend_to_ancestors, lineages=self.lineages)
        for block in self.blocks:
            stream = block(stream, attend)
        return functional.log_softmax(self.next_token(self.norm(stream)), dim=-1)

    def log_probs(self) -> Tensor:
        """log pi(y|x) of every response to every prompt, ``(X, Y)``, nats: sums over tokens."""
        scores = self.next_token_log_probs().flatten(start_dim=1)
        # One more score, zero, is what the places after an end token point at.
        scores = functional.pad(scores, (0, 1))
        taken = scores.index_select(1, self.edges.flatten())
        return taken.view(len(scores), *self.edges.shape).sum(dim=-1)

    def forward(self, prompt: Tensor, response: Tensor, inside: Tensor) -> Tensor:
        """log pi of one response, nats; `inside` is 1 at its tokens and 0 after its end."""
        before = response[:-1].clamp(max=len(self.token_embedding) - 1)  # the end is never read
        words = functional.embedding(before, self.token_embedding)
        stream = torch.cat([functional.embedding(prompt, self.prompt_embedding)[None], words])
        stream = (stream + self.depth_embedding)[None]
        for block in self.blocks:
            stream = block(stream, _attend_to_earlier)
        following = functional.log_softmax(self.next_token(self.norm(stream[0])), dim=-1)
        return (following.gather(1, response[:, None])[:, 0] * inside).sum()

    def jacobian(self) -> Tensor:
        """Slope of every log-prob in the weights that are trained, ``(X Y, weights)``.

        One response at a time: only its own prefixes matter to it.
        """
        weights = {name: w.detach() for name, w in self.named_parameters() if w.requires_grad}
        prompts, device = len(self.prompt_embedding), self.edges.device
        responses = torch.tensor(self.space.responses, device=device)
        inside = (self.edges < self.space.prefixes * self.space.vocabulary).to(self.depth_embedding)
        which = torch.arange(prompts, device=device).repeat_interleave(len(responses))
        one = (which, responses.repeat(prompts, 1), inside.repeat(prompts, 1))
        slope = grad(lambda weights, *response: functional_call(self, weights, response))
        slopes = vmap(slope, in_dims=(None, 0, 0, 0), chunk_size=CHUNK)(weights, *one)
        return torch.cat([part.flatten(start_dim=1) for part in slopes.values()], dim=1)


def _seed(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _checks.error("seed", "a whole number >= 0", repr(value))
    return value


def _embedding(rows: int, width: int, draws: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, width, dtype=torch.float64, generator=draws))
