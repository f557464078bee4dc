"""A tiny transformer on all its votes, each prefix computed once, beside TRL's trainer on batches.

Both train the same network from the same reference on the same votes in float32, with the
reference's log-probabilities computed before. The reward is one that the network can hold.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dpo_edu import distributions, gibbs, policies, preferences, training
from dpo_edu._checks import Floats
from dpo_edu._fit import Fit
from dpo_edu.sequences import SequenceSpace
from tools.bench import Row, race, ratio

BETA, VOTES, BATCH, ENOUGH = 0.5, 65_536, 512, 0.1
SIZE = {"layers": 2, "width": 64, "heads": 2}
STEPS, RATE = 26, 0.01  # of ours
TRL_RATE, TRL_STEPS = 1e-3, 128  # constant; at most one epoch
PRODUCTS = (
    "Attention, whose products are small (8 by 3), norms, GELU and the 65,536 votes take the rest: "
    "attention a third of a layer's time."
)
EARLY = (
    "For the first tenth 512 votes are nearly as good as all: 36 steps and 26 were seen, so this "
    "is nearly the ratio of the steps."
)
START = 8  # the token that stands for the prompt


class Problem(NamedTuple):
    """A reference, the policy that is optimal for a reward, and votes by that reward."""

    reference: policies.TinyTransformer
    ref: Floats
    optimum: Floats
    pairs: preferences.PreferencePairs

    def left(self, log_probs: Floats) -> float:
        """KL(pi* || pi) as a share of KL(pi* || pi_ref)."""
        kl, ends = distributions.kl_divergence, (np.exp(log_probs), self.ref)
        return float(kl(self.optimum, ends[0]) / kl(self.optimum, ends[1]))

    def policy(self, dtype: torch.dtype = torch.float32) -> policies.TinyTransformer:
        """A copy of the reference, to be trained."""
        copy = policies.TinyTransformer(self.reference.space, **SIZE)
        copy.load_state_dict(self.reference.state_dict())
        return copy.to(dtype)


def problem(tokens: int = 8, length: int = 4, votes: int = VOTES) -> Problem:
    """The reward is beta times the log-ratio of two networks with random weights."""
    space = SequenceSpace(tokens, length)
    reference, goal = (policies.TinyTransformer(space, **SIZE, seed=seed) for seed in (1, 2))
    log_ref, log_goal = (x.log_probs()[0].detach().numpy() for x in (reference, goal))
    ref, reward = np.exp(log_ref), BETA * (log_goal - log_ref)
    pairs = preferences.sample_pairs(reward, ref, size=votes, rng=np.random.default_rng(1))
    return Problem(reference, ref, gibbs.optimal_policy(reward, ref, beta=BETA), pairs)


def step_of(given: Problem, dtype: torch.dtype) -> Callable[[], None]:
    """One step of ours on all votes, as `train_dpo` takes it."""
    fit = Fit(given.policy(dtype), given.ref, given.pairs, beta=BETA, device="cpu")
    adam = torch.optim.AdamW(fit.parameters, lr=1e-3, eps=1e-16, weight_decay=0.0, fused=True)

    def step() -> None:
        _, loss = fit.look()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()

    return step


def products_of(policy: policies.TinyTransformer) -> Callable[[], None]:
    """The matrix products of one step and nothing else: each linear layer and its two slopes."""
    layers = [m.weight.detach() for m in policy.modules() if isinstance(m, nn.Linear)]
    inputs = [torch.randn(policy.space.prefixes, w.shape[1]).to(w) for w in layers]
    slopes = [torch.randn(policy.space.prefixes, w.shape[0]).to(w) for w in layers]

    def products() -> None:
        for x, w, slope in zip(inputs, layers, slopes, strict=True):
            torch.mm(x, w.T)
            torch.mm(slope, w)
            torch.mm(slope.T, x)

    return products


def same_network(policy: policies.TinyTransformer) -> Any:
    """TRL's model: GPT-2 of this size with these weights; the prompt is one token."""
    from transformers import GPT2Config, GPT2LMHeadModel

    heads, width = policy.blocks[0].heads, policy.prompt_embedding.shape[1]
    shape = {"n_layer": len(policy.blocks), "n_embd": width, "n_head": heads}
    off = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), START)
    length, tokens = policy.space.length, policy.space.vocabulary
    config = GPT2Config(
        vocab_size=tokens + 1, n_positions=length + 1, activation_function="gelu",
        tie_word_embeddings=False, **shape, **off, **ends,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    model.lm_head = nn.Linear(width, tokens)  # the start is never predicted
    words = torch.cat([policy.token_embedding, policy.prompt_embedding])
    model.transformer.wte.weight.data.copy_(words)
    model.transformer.wpe.weight.data[:length] = policy.depth_embedding
    for block, ours in zip(model.transformer.h, policy.blocks, strict=True):
        _copy(block.ln_1, ours.attention_norm)
        _copy(block.attn.c_attn, ours.query_key_value, turned=True)
        _copy(block.attn.c_proj, ours.attention_out, turned=True)
        _copy(block.ln_2, ours.perceptron_norm)
        _copy(block.mlp.c_fc, ours.perceptron_in, turned=True)
        _copy(block.mlp.c_proj, ours.perceptron_out, turned=True)
    _copy(model.transformer.ln_f, policy.norm)
    _copy(model.lm_head, policy.next_token)
    return model


def _copy(theirs: nn.Module, ours: nn.Module, *, turned: bool = False) -> None:
    """Weights and biases of a layer; GPT-2 keeps those of most linear layers turned."""
    theirs.weight.data.copy_(ours.weight.T if turned else ours.weight)
    theirs.bias.data.copy_(ours.bias)


def log_probs_of(model: Any, responses: Tensor) -> Floats:
    """log pi of every response under TRL's model."""
    start = torch.full((len(responses), 1), START)
    with torch.no_grad():
        logits = model(torch.cat([start, responses[:, :-1]], dim=1)).logits
    each = logits.double().log_softmax(dim=-1).gather(2, responses[..., None])
    return each.sum(dim=(1, 2)).numpy()


def trainer_of(given: Problem, model: Any, folder: str) -> Any:
    """TRL's trainer on the votes, as tokens, with the reference's log-probs beside them."""
    from copy import deepcopy

    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, PrinterCallback
    from trl import DPOConfig, DPOTrainer

    disable_progress_bars()
    letters = Tokenizer(models.WordLevel({c: n for n, c in enumerate("abcdefgh.")}, "."))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    ends = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), ".")
    args = DPOConfig(
        output_dir=folder, beta=BETA, learning_rate=TRL_RATE, lr_scheduler_type="constant",
        max_steps=TRL_STEPS, per_device_train_batch_size=BATCH, optim="adamw_torch_fused",
        weight_decay=0.0, bf16=False, use_cpu=True, report_to=[], save_strategy="no",
        disable_tqdm=True, logging_steps=TRL_STEPS, activation_checkpointing=False,
    )  # fmt: skip
    words = Dataset.from_list([{"prompt": ".", "chosen": "a", "rejected": "b"}])
    trainer = DPOTrainer(
        model, ref_model=deepcopy(model), args=args, train_dataset=words,
        processing_class=PreTrainedTokenizerFast(tokenizer_object=letters, **ends),
    )  # fmt: skip
    responses, log_ref = given.reference.space.responses.tolist(), np.log(given.ref)
    trainer.train_dataset = Dataset.from_dict(
        {"prompt_ids": [[START]] * len(given.pairs)}
        | {f"{name}_ids": [responses[y] for y in y_s] for name, y_s in _sides(given)}
        | {f"ref_{name}_logps": log_ref[y_s].tolist() for name, y_s in _sides(given)}
    )
    trainer.precompute_ref_logps, trainer.ref_model = True, None
    trainer.remove_callback(PrinterCallback)
    return trainer


def _sides(given: Problem) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("chosen", given.pairs.chosen), ("rejected", given.pairs.rejected)


def in_turn(
    given: Problem, trainer: Any, model: Any, step: Callable[[], None]
) -> dict[str, list[float]]:
    """Train with TRL until enough is reached; after each of its steps take one of ours.

    Seconds of each step of both, and what TRL had left after each.
    """
    from transformers import TrainerCallback

    seen: dict[str, list[float]] = {"trl": [], "ours": [], "left": []}
    responses = torch.tensor(given.reference.space.responses)

    class Turns(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            seen["trl"].append(time.perf_counter() - self.start)
            begin = time.perf_counter()
            step()
            seen["ours"].append(time.perf_counter() - begin)
            model.eval()
            seen["left"].append(given.left(log_probs_of(model, responses)))
            model.train()
            control.should_training_stop = seen["left"][-1] <= ENOUGH
            self.start = time.perf_counter()

    trainer.add_callback(Turns())
    trainer.train()
    return seen


def train_ours(given: Problem) -> tuple[float, float]:
    """Seconds of a whole training of ours, votes counted too, and what it left."""
    start = time.perf_counter()
    options = {"beta": BETA, "device": "cpu", "steps": STEPS, "learning_rate": RATE}
    run = training.train_dpo(given.policy(), given.ref, given.pairs, **options)
    return time.perf_counter() - start, given.left(run.log_probs[0])


def measure() -> list[Row]:
    """The two steps in turn, the step against its matrix products, and the two trainings."""
    torch.set_num_threads(1)
    given = problem()
    model = same_network(given.reference)
    every = torch.tensor(given.reference.space.responses)
    apart = np.abs(log_probs_of(model, every) - np.log(given.ref)).max()
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(given, model, folder)
        print("TRL trains", flush=True)
        seen = in_turn(given, trainer, model, step_of(given, torch.float32))
    trained = [train_ours(given) for _ in range(5)]
    seconds = statistics.median(second for second, _ in trained)
    narrow = torch.float32
    runs = {"products": products_of(given.policy()), "step": step_of(given, narrow)}
    taken = race(runs | {"wide": step_of(given, torch.float64)}, rounds=31, warm=3)
    ms = {name: statistics.median(times) * 1e3 for name, times in (taken | seen).items()}
    over = ratio(taken, "step", "products")
    return [
        Row("GPT-2 with our weights: log-probabilities apart by", apart, "nats", "<= 1e-5"),
        Row("our step on all votes over TRL's on 512", ratio(seen, "ours", "trl"), "×", "<= 0.111"),
        Row("TRL's step on 512 votes", ms["trl"], "ms"),
        Row("our step on all votes", ms["step"], "ms"),
        Row("our step in float64", ms["wide"], "ms"),
        Row("our step over its matrix products alone", over, "×", "<= 3", PRODUCTS),
        Row("share of KL left by our training", trained[0][1], "", "<= 0.1"),
        Row("share of KL left by TRL's", seen["left"][-1], "", "<= 0.1"),
        Row("TRL's steps until then", len(seen["trl"])),
        Row("TRL's training until then", sum(seen["trl"]), "s"),
        Row("our training over TRL's", seconds / sum(seen["trl"]), "×", "<= 0.05", EARLY),
    ]
