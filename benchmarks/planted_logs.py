"""Runs of TRL's DPOTrainer with one fault planted in each, and healthy ones, logged for the audit.

python benchmarks/planted_logs.py [NAME ...] [--seeds 3] [--to tests/logs]

A Llama of two layers and 18 words answers prompts of three words; voters with a known reward vote
by Bradley-Terry. Each run takes some seconds on one core. Needs the extra `lm`.
"""

import argparse
import copy
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F
from tqdm import tqdm
from trl import DPOConfig, DPOTrainer
from trl.trainer import dpo_trainer

from dpo_edu.testing import DumpPairs

ROOT = Path(__file__).resolve().parent.parent
WORDS = ["<pad>", "<eos>", *"abcdefghijklmnop"]
TRAINED, HELD_OUT, BETA = 480, 64, 0.1
Parts = dict[str, Any]
Fault = Callable[[Parts], None]


# --- the world ----------------------------------------------------------------------------------


def tokenizer() -> Any:
    """A word a token, an end token."""
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>"
    )


def model(seed: int) -> Any:
    """A small Llama with random weights, large enough that its words differ in probability."""
    torch.manual_seed(seed)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "initializer_range": 0.12}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    config = transformers.LlamaConfig(vocab_size=len(WORDS), **size, **heads, **ids)
    return transformers.LlamaForCausalLM(config)


def text(tokens: Any) -> str:
    return " ".join(WORDS[i] for i in tokens if i > 1)


def pairs(
    policy: Any, rng: Any, seed: int, *, labels: str, best_of: int = 0
) -> list[dict[str, str]]:
    """Draws from the policy, voted on: by Bradley-Terry, by a rule, or best against worst of n."""
    worth = np.append([0.0, 0.0], rng.normal(size=len(WORDS) - 2)) * 0.7
    words = np.array(WORDS[2:])
    asked = [" ".join(rng.choice(words, 3)) for _ in range(2 * (TRAINED + HELD_OUT))]
    asked = list(dict.fromkeys(asked))
    ids = torch.tensor([tokenizer()(prompt).input_ids for prompt in asked])
    torch.manual_seed(seed)
    draws = max(2, best_of)
    with torch.no_grad():
        said = policy.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            max_new_tokens=12,
            num_return_sequences=draws,
            pad_token_id=0,
            eos_token_id=1,
        )
    rows = []
    for prompt, answers in zip(
        asked, said[:, 3:].reshape(len(asked), draws, -1).numpy(), strict=True
    ):
        rewards = worth[answers].sum(axis=1)
        noisy = rewards + (rng.gumbel(size=draws) if labels == "votes" else 0)
        won, lost = answers[noisy.argmax()], answers[noisy.argmin()]
        if text(won) != text(lost) and text(won) and text(lost):
            row = {"prompt": prompt, "chosen": f" {text(won)}", "rejected": f" {text(lost)}"}
            rows.append(row)
    return rows[: TRAINED + HELD_OUT]


# --- the faults ---------------------------------------------------------------------------------


def lora(parts: Parts, dtype: torch.dtype | None = None) -> None:
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], lora_alpha=16)
    parts["model"] = get_peft_model(parts["model"].to(dtype or torch.float32), config)
    parts["ref_model"] = None
    parts["config"] |= {"learning_rate": 1e-2}


def dead_lora(parts: Parts) -> None:
    lora(parts)
    for name, weight in parts["model"].named_parameters():
        if "lora_A" in name:
            weight.data.zero_()


def wrong_reference(parts: Parts) -> None:
    for weight in parts["ref_model"].parameters():
        weight.data += 0.02 * torch.randn_like(weight)


def swapped(parts: Parts) -> None:
    for row in parts["train"]:
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]


def lost_end(parts: Parts) -> None:
    def without_end(example: Parts) -> Parts:
        return {
            k: [i for i in v if i != 1] if k in ("chosen_ids", "rejected_ids") else v
            for k, v in example.items()
        }

    parts["mapped"] = without_end


def fast(parts: Parts) -> None:
    parts["config"]["learning_rate"] *= 10


def dropout(parts: Parts) -> None:
    for layer in parts["ref_model"].model.layers:
        layer.self_attn.attention_dropout = 0.1
        for name in ("input_layernorm", "post_attention_layernorm"):
            norm = torch.nn.Sequential(getattr(layer, name), torch.nn.Dropout(0.1))
            setattr(layer, name, norm)
    parts["ref_trains"] = True


def leaked(parts: Parts) -> None:
    parts["held_out"] = parts["train"][:HELD_OUT]


def large_beta(parts: Parts) -> None:
    parts["config"]["beta"] = 10 * BETA


def token_mean(parts: Parts) -> None:
    parts["config"]["loss_type"] = ["sigmoid_norm"]


def beta_twice(parts: Parts) -> None:
    parts["logsigmoid"] = lambda s: F.logsigmoid(BETA * s)


def cut_rejected(parts: Parts) -> None:
    def cut(example: Parts) -> Parts:
        return example | {"rejected_ids": example["rejected_ids"][:4]}

    parts["mapped"] = cut


def half_reference(parts: Parts) -> None:
    parts["ref_model"] = parts["ref_model"].bfloat16()


FAULTS: dict[str, Fault] = {
    "dead": dead_lora, "reference": wrong_reference, "swapped": swapped, "end-token": lost_end,
    "rate": fast, "dropout": dropout, "duplicates": leaked, "beta": large_beta,
    "mean": token_mean, "beta-twice": beta_twice, "truncated": cut_rejected,
    "precision": half_reference,
}  # fmt: skip


def options(**changes: Any) -> Fault:
    return lambda parts: parts["config"].update(changes)


HEALTHY: dict[str, Fault] = {
    "votes-a": options(), "votes-b": options(), "votes-c": options(),
    "every-ten": options(logging_steps=10), "every-five": options(logging_steps=5),
    "slow": options(learning_rate=1e-3), "accumulated": options(gradient_accumulation_steps=2),
    "beta-large": options(beta=0.5), "beta-small": options(beta=0.03),
    "ipo": options(loss_type=["ipo"]), "ipo-large": options(loss_type=["ipo"], beta=0.5),
    "hinge": options(loss_type=["hinge"]), "nca": options(loss_type=["nca_pair"]),
    "apo": options(loss_type=["apo_zero"]), "long": options(max_steps=45),
    "rule": options(), "bestworst-4": options(), "bestworst-8": options(),
    "lora": lora, "lora-half": lambda parts: lora(parts, torch.bfloat16),
}  # fmt: skip


# --- one run ------------------------------------------------------------------------------------


def run(name: str, seed: int, folder: Path) -> None:
    """Train with one fault, or none, and write the log and the dump of pairs."""
    start, rng = model(seed), np.random.default_rng(seed)
    labels = "rule" if name == "rule" else "votes"
    best_of = int(name.partition("-")[2]) if name.startswith("bestworst") else 0
    rows = pairs(start, rng, seed, labels=labels, best_of=best_of)
    parts: Parts = {"model": start, "ref_model": copy.deepcopy(start)}
    parts |= {"train": rows[:TRAINED], "held_out": rows[TRAINED:]}
    parts["config"] = {
        "beta": BETA, "learning_rate": 3e-3, "max_steps": 30, "logging_steps": 1, "max_length": 64,
        "per_device_train_batch_size": 16, "per_device_eval_batch_size": 16,
    }  # fmt: skip
    (FAULTS | HEALTHY)[name](parts)
    config = DPOConfig(
        output_dir=str(ROOT / "build" / "planted"), report_to=[], save_strategy="no",
        use_cpu=True, bf16=False, eval_strategy="steps", eval_steps=10, seed=seed,
        disable_tqdm=True, **parts["config"],
    )  # fmt: skip
    sets = {"train_dataset": "train", "eval_dataset": "held_out"}
    data = {argument: Dataset.from_list(parts[part]) for argument, part in sets.items()}
    trainer = DPOTrainer(
        parts["model"],
        ref_model=parts["ref_model"],
        args=config,
        processing_class=tokenizer(),
        **data,
    )
    if change := parts.get("mapped"):
        trainer.train_dataset = trainer.train_dataset.map(change)
        trainer.eval_dataset = trainer.eval_dataset.map(change)
    trainer.remove_callback(transformers.PrinterCallback)
    if parts.get("ref_trains"):
        trainer.ref_model.train()
    folder.mkdir(parents=True, exist_ok=True)
    dump = folder / f"{name}-{seed}.pairs.jsonl"
    DumpPairs(trainer, dump)
    proper = dpo_trainer.F
    if "logsigmoid" in parts:
        dpo_trainer.F = type("F", (), {"logsigmoid": staticmethod(parts["logsigmoid"])})
    trainer.train()
    dpo_trainer.F = proper
    log = "".join(json.dumps(short(row)) + "\n" for row in trainer.state.log_history)
    packed(folder / f"{name}-{seed}.log.jsonl.gz", log)
    rows = thinned([json.loads(line) for line in dump.read_text().splitlines()])
    packed(dump.with_suffix(".jsonl.gz"), "".join(json.dumps(short(row)) + "\n" for row in rows))
    dump.unlink()


def short(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers with eight digits, without what depends on the machine's speed."""
    kept = {k: v for k, v in row.items() if not k.endswith(("runtime", "per_second", "flos"))}
    return {k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in kept.items()}


def thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Held-out pairs, and the training pairs of the first and of the last five steps."""
    end = max(row["step"] for row in rows)
    return [r for r in rows if r["split"] == "eval" or r["step"] < 5 or r["step"] > end - 5]


def packed(path: Path, content: str) -> None:
    """Write it packed, the same bytes on every run."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
        zipped.write(content.encode())


def main() -> None:
    """Run what was asked for, or everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*FAULTS, *HEALTHY, []])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--to", type=Path, default=ROOT / "tests" / "logs")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    jobs = [(n, s) for n in FAULTS for s in range(given.seeds)]
    jobs += [(n, 10 + k) for k, n in enumerate(HEALTHY)]
    for name, seed in tqdm([job for job in jobs if not given.names or job[0] in given.names]):
        run(name, seed, given.to)


if __name__ == "__main__":
    main()
