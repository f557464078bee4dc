"""A real language model as a policy: frozen below and run once, adapters above that learn.

Any causal language model of the transformers library with a list of blocks ``model.layers``, as
Llama, Qwen, Mistral or SmolLM2. Prompts and answers are lists of tokens. The blocks below do not
change, so what they say of a prompt and its answer is stored; a step of training computes the upper
blocks alone. With the adapters off the model is the reference policy.

Needs the extra `lm`: transformers, gguf and peft.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from tqdm import tqdm

from dpo_edu import _checks, _run

SOURCE = "DPO_EDU_MODEL"  # a folder, or a name on the Hugging Face hub
TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"  # without the system's turn
PARTS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CHUNK = 64  # sequences that run at once where nothing is learned
Tokens = Sequence[int]


class LanguageModel(nn.Module):
    """A causal language model with adapters (LoRA) on its upper blocks.

    Parameters
    ----------
    model, tokenizer : of the transformers library.
    upper : how many blocks learn, counted from the output.
    rank : of the adapters.
    temperature : the reference policy is the model at this temperature; the last norm's weights
        are divided by it, so it is part of the model.
    seed : of the adapters' start; they start as no change at all.

    Source: Hu et al. 2021 (arXiv 2106.09685) for the adapters.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        upper: int = 2,
        rank: int = 64,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        from peft import LoraConfig, get_peft_model

        blocks = model.model.layers
        if not 1 <= upper <= len(blocks):
            raise _checks.error("upper", f"1 to {len(blocks)} blocks", repr(upper))
        model.model.norm.weight.data /= _checks.positive("temperature", temperature)
        first = len(blocks) - upper
        above = {"layers_to_transform": list(range(first, len(blocks))), "target_modules": PARTS}
        size = {"r": _checks.positive_int("rank", rank), "lora_alpha": 2 * rank}
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # from between the two libraries
            self.model = get_peft_model(model, LoraConfig(**size, **above))
        self.tokenizer = tokenizer
        self.end = int(tokenizer.eos_token_id)
        self.core, self.head, self.upper = model.model, model.lm_head, blocks[first:]
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.eval()  # no dropout: the reference and the policy are functions, not draws

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return torch.device(self.head.weight.device)

    def reset(self, seed: int = 0) -> None:
        """Start again at the reference: new adapters that change nothing yet."""
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                if "lora_A" in name:
                    nn.init.kaiming_uniform_(weight, a=5**0.5)
                elif "lora_B" in name:
                    weight.zero_()

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        """Inside this the model is the reference policy: adapters off, nothing to learn."""
        with torch.no_grad(), self.model.disable_adapter():
            yield

    # --- tokens ---------------------------------------------------------------------------------

    def prompt(self, text: str) -> list[int]:
        """What a user says, as the tokens after which the model answers."""
        return list(self.tokenizer(TURN.format(text)).input_ids)

    def text(self, answer: Tokens) -> str:
        """Tokens of an answer as text, without the end token."""
        return str(self.tokenizer.decode(answer, skip_special_tokens=True))

    def words(self) -> list[str]:
        """Every token of the vocabulary as text, ``V`` of them."""
        return [self.tokenizer.decode([i]) for i in range(self.head.weight.shape[0])]

    # --- probabilities --------------------------------------------------------------------------

    def one_token(self, prompts: Sequence[Tokens]) -> "OneToken":
        """The policy whose responses to these prompts are single tokens."""
        return OneToken(self, prompts, [[]] * len(prompts))

    def answers(self, prompts: Sequence[Tokens], answers: Sequence[Tokens]) -> "Answers":
        """The policy seen at one answer to each prompt."""
        return Answers(self, prompts, answers)

    def below(self, ids: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """What enters the first trained block, and what every block is told besides."""
        seen: dict[str, Any] = {}

        def watch(block: nn.Module, given: tuple[Tensor, ...], also: dict[str, Any]) -> None:
            seen.update(states=given[0], also=also)
            raise _Enough

        hook, parts = self.upper[0].register_forward_pre_hook(watch, with_kwargs=True), []
        try:
            for chunk in _chunks(ids, CHUNK):
                with contextlib.suppress(_Enough), self.reference():
                    self.core(input_ids=chunk, use_cache=False)
                parts.append(seen["states"])
        finally:
            hook.remove()
        kept = ("position_ids", "position_embeddings", "attention_mask")
        return torch.cat(parts), {k: v for k, v in seen["also"].items() if k in kept}

    def above(self, states: Tensor, shared: dict[str, Any]) -> Tensor:
        """What comes out of the trained blocks and the last norm, ``(n, W, D)``."""
        for block in self.upper:
            out = block(states, **shared)
            states = out[0] if isinstance(out, tuple) else out
        normed: Tensor = self.core.norm(states)
        return normed

    # --- answers --------------------------------------------------------------------------------

    def sample(
        self, prompts: Sequence[Tokens], *, count: int, longest: int, seed: int
    ) -> list[list[list[int]]]:
        """Draw `count` answers to each prompt; one ends with the end token, or after `longest`.

        Draws are from pi(y|x) itself: no temperature, no nucleus, nothing cut off.
        """
        answers: list[list[int]] = []
        torch.manual_seed(seed)
        for start in _run.bar(-(-len(prompts) // CHUNK), progress=True):
            some = prompts[start * CHUNK : (start + 1) * CHUNK]
            width = max(map(len, some))
            ids = torch.tensor([[self.end] * (width - len(x)) + list(x) for x in some])
            real = torch.tensor([[0] * (width - len(x)) + [1] * len(x) for x in some])
            with torch.no_grad():
                drawn = self.model.generate(
                    input_ids=ids.to(self.device),
                    attention_mask=real.to(self.device),
                    do_sample=True,
                    top_k=0,
                    max_new_tokens=longest,
                    num_return_sequences=count,
                    pad_token_id=self.end,
                )
            answers += [self._ended(row) for row in drawn[:, width:].tolist()]
        return [answers[i : i + count] for i in range(0, len(answers), count)]

    def _ended(self, row: list[int]) -> list[int]:
        """Tokens up to and with the first end token."""
        return row[: row.index(self.end) + 1] if self.end in row else row


class _Seen(nn.Module):
    """A language model at some prompts, with an answer to each; the frozen blocks have run."""

    def __init__(
        self, model: LanguageModel, prompts: Sequence[Tokens], answers: Sequence[Tokens]
    ) -> None:
        super().__init__()
        if not prompts or not all(prompts) or len(answers) != len(prompts):
            got = f"{len(prompts)} prompts and {len(answers)} answers"
            raise _checks.error("prompts", "prompts with a token, and one answer to each", got)
        self.model = model
        whole = [[*x, *y] for x, y in zip(prompts, answers, strict=True)]
        width = max(map(len, whole))
        # Padding stands at the end, where causal attention lets no token see it.
        ids = torch.tensor([row + [model.end] * (width - len(row)) for row in whole])
        last = torch.tensor([len(x) - 1 for x in prompts])
        length, place = torch.tensor([len(y) for y in answers]), torch.arange(width - 1)
        answer = (place >= last[:, None]) & (place < (last + length)[:, None])
        self.ids, self.last, self.answer = (x.to(model.device) for x in (ids, last, answer))
        self.states, self.shared = model.below(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def _above(self, rows: Tensor) -> Tensor:
        """What the trained blocks make of some rows, ``(n, W, D)``."""
        return self.model.above(self.states[rows], self.shared)

    def _in_chunks(self, score: Callable[[Tensor], Tensor], rows: Tensor | None) -> Tensor:
        """The score of all rows, or of some; few at once where nothing is to be learned."""
        rows = torch.arange(len(self)) if rows is None else rows
        size = len(rows) if torch.is_grad_enabled() else CHUNK
        return torch.cat([score(chunk) for chunk in _chunks(rows, size)])


class OneToken(_Seen):
    """The policy whose responses are single tokens: every response of the vocabulary is scored."""

    def log_probs(self, rows: Tensor | None = None) -> Tensor:
        """log pi(token | prompt), for all prompts or some, ``(X, V)``, nats; rows normalised."""
        return self._in_chunks(self._next, rows)

    def _next(self, rows: Tensor) -> Tensor:
        states = self._above(rows)
        at_end = states[torch.arange(len(rows)), self.last[rows]]
        return log_softmax(self.model.head(at_end), dim=-1)


class Answers(_Seen):
    """The policy at one answer to each prompt, an answer being a list of tokens."""

    def log_probs(self, rows: Tensor | None = None) -> Tensor:
        """log pi(y|x) of each answer, or of some, ``(N,)``, nats: the sum over its tokens."""
        return self.token_log_probs(rows).sum(dim=1)

    def token_log_probs(self, rows: Tensor | None = None) -> Tensor:
        """log pi of every token given what stands before it, ``(N, W - 1)``, nats.

        A column is a position that predicts the next one; 0 outside the answer.
        """
        return self._in_chunks(self._said, rows)

    def token_kl(self, rows: Tensor | None = None) -> Tensor:
        """KL(pi_ref || pi) of the next token, summed along each answer, ``(N,)``, nats.

        Its mean over answers of the reference is KL(pi_ref || pi) of whole answers, by the chain
        rule; each summand is exact, a sum over the vocabulary.
        """
        return self._in_chunks(self._kl, rows)

    def _next(self, rows: Tensor) -> Tensor:
        """log pi of every token at every position of the answers, one after the other."""
        return log_softmax(self.model.head(self._above(rows)[:, :-1][self.answer[rows]]), dim=-1)

    def _placed(self, values: Tensor, rows: Tensor) -> Tensor:
        """Values of the answers' positions in the positions' table, 0 elsewhere."""
        table = torch.zeros(self.answer[rows].shape, dtype=values.dtype, device=values.device)
        return table.masked_scatter(self.answer[rows], values)

    def _said(self, rows: Tensor) -> Tensor:
        said = self.ids[rows][:, 1:][self.answer[rows]]
        return self._placed(self._next(rows).gather(1, said[:, None])[:, 0], rows)

    def _kl(self, rows: Tensor) -> Tensor:
        with self.model.reference():
            ref = self._next(rows)
        terms = (ref.exp() * (ref - self._next(rows))).sum(dim=1)
        return self._placed(terms, rows).sum(dim=1)


def _chunks(tensor: Tensor, size: int) -> Iterator[Tensor]:
    """A tensor's rows, so many at a time."""
    for start in range(0, len(tensor), size):
        yield tensor[start : start + size]


class _Enough(Exception):
    """The frozen blocks have run; the others need not."""


def load(
    source: str | Path | None = None,
    *,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    **size: Any,
) -> LanguageModel:
    """Load a model from a folder or from the Hugging Face hub and put adapters on it.

    Parameters
    ----------
    source : a folder with one .gguf file or with a model of the transformers library, or a name on
        the hub. None is what DPO_EDU_MODEL says, which `make lm` sets.
    device : where it runs; "auto" is DPO_EDU_DEVICE if set, else CUDA if present, or the CPU.
    dtype : of the weights; float32 if None.
    size : what `LanguageModel` takes.

    Raises
    ------
    ValueError
        If there is no source, or the extra `lm` is not installed.

    >>> load("")
    Traceback (most recent call last):
    ValueError: ...: expected ..., got none
    """
    try:
        import peft  # noqa: F401
        import transformers
        from transformers import modeling_gguf_pytorch_utils as unpacking
    except ImportError:
        raise _checks.error("dpo_edu", "the extra lm: pip install 'dpo-edu[lm]'", "none") from None
    if not (found := source or os.environ.get(SOURCE)):
        expected = (
            f"a folder, a name on the hub, or {SOURCE} (`make lm` fetches a model and sets it)"
        )
        raise _checks.error("source", expected, "none")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    unpacking.tqdm = tqdm  # which TQDM_DISABLE=1 turns off
    files = sorted(Path(found).glob("*.gguf"))
    packed = {"gguf_file": files[0].name} if files else {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(found, **packed)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        found, dtype=dtype or torch.float32, **packed
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.is_quantized, model.hf_quantizer = False, None  # unpacked: a trainer may have it
    return LanguageModel(model.to(_run.choose(device)), tokenizer, **size)
