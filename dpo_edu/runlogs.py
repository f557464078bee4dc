"""Read what trainers write: a log, one row for each time it logged, and a dump of pairs.

Rows become columns under the names of `FIELDS`, whatever the trainer calls them; what a row lacks
is nan. Logs: TRL's and LLaMA-Factory's ``trainer_state.json`` and JSON lines, OpenRLHF's metrics,
tables with a head (CSV). A dump of pairs is JSON lines as `dpo_edu.testing.DumpPairs` writes them.
A file that ends in ``.gz`` is unpacked.
"""

import csv
import gzip
import io
import json
import math
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dpo_edu._checks import Floats

# What each quantity is called, in the order of trust; ``eval_``, ``eval/`` or ``train/`` in front
# say which split. TRL: trl/trainer/dpo_trainer.py and transformers' Trainer. LLaMA-Factory:
# src/llamafactory/train/dpo/trainer.py and train/callbacks.py. OpenRLHF:
# openrlhf/trainer/dpo_trainer.py.
FIELDS = {
    "step": ("step", "current_steps", "global_step", "_step"),
    "epoch": ("epoch",),
    "loss": ("loss", "loss_mean"),
    "chosen": ("rewards/chosen", "chosen_reward"),
    "rejected": ("rewards/rejected", "reject_reward"),
    "margin": ("rewards/margins",),
    "accuracy": ("rewards/accuracies", "acc_mean", "acc", "accuracy"),
    "chosen_logps": ("logps/chosen",),
    "rejected_logps": ("logps/rejected",),
    "grad_norm": ("grad_norm",),
    "rate": ("learning_rate", "lr"),
}
# What a line of a dump of pairs holds: sums of log-probabilities, which it must, and what it may.
SUMS = ("chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
OTHERS = (
    "step",
    "loss",
    "chosen_tokens",
    "rejected_tokens",
    "chosen_ended",
    "rejected_ended",
    "same",
)
KEYS = ("id", "prompt", "batch")

Columns = dict[str, Floats]


class RunLog(NamedTuple):
    """Columns of the training rows and of the rows on held-out pairs, each ``(rows,)`` float64."""

    train: Columns
    held_out: Columns


def unreadable(where: str, expected: str, got: object) -> ValueError:
    """The error for a file: the place in it, what was expected, what came.

    >>> unreadable("a.csv, line 3, field loss", "a number", "'?'")
    ValueError("a.csv, line 3, field loss: expected a number, got '?'")
    """
    return ValueError(f"{where}: expected {expected}, got {got}")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text file that are not empty.

    >>> next(lines(Path(__file__)))
    (1, '...')
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise unreadable(f"{path}, line {number}", "a JSON object", error.msg) from None
    if not isinstance(row, dict):
        raise unreadable(f"{path}, line {number}", "a JSON object", type(row).__name__)
    return row


def _rows(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """Each row of a log, with its place in the file."""
    numbered = list(lines(path))
    text = "".join(line for _, line in numbered)
    name = path.name.removesuffix(".gz")
    if name.endswith(".csv"):
        for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
            yield f"{path}, line {number}", {k: v for k, v in row.items() if v not in ("", None)}
    elif name.endswith(".json"):
        try:
            tree = json.loads(text)
        except json.JSONDecodeError as error:
            raise unreadable(f"{path}, line {error.lineno}", "JSON", error.msg) from None
        history = tree.get("log_history") if isinstance(tree, dict) else tree
        if not isinstance(history, list):
            raise unreadable(str(path), "a list of rows under log_history", "none")
        for place, row in enumerate(history):
            if not isinstance(row, dict):
                raise unreadable(f"{path}, row {place}", "an object", type(row).__name__)
            yield f"{path}, row {place}", row
    else:
        for number, line in numbered:
            yield f"{path}, line {number}", _parsed(path, number, line)


def _number(where: str, field: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise unreadable(f"{where}, field {field}", "a number", repr(value)) from None


def _split_of(field: str) -> tuple[str, str]:
    """Which split a field of a log speaks of, ``train``, ``held_out`` or ``""``, and its name."""
    for mark, split in (("eval_", "held_out"), ("eval/", "held_out"), ("train/", "train")):
        if field.startswith(mark):
            rest = field.removeprefix(mark)
            return split, rest.removeprefix("eval_")
    return "", field


def read_log(path: str | Path) -> RunLog:
    """A trainer's log as columns.

    Raises
    ------
    ValueError : the file holds no row with a loss or a reward, or a field is no number; the message
        names line and field.
    OSError : there is no such file.

    >>> run = read_log(Path(__file__).parent / "data" / "audit" / "healthy.log.jsonl")
    >>> len(run.train["step"]), len(run.held_out["step"])
    (30, 3)
    """
    path = Path(path)
    tables: dict[str, list[dict[str, float]]] = {"train": [], "held_out": []}
    ours = {theirs: name for name, others in FIELDS.items() for theirs in others}
    for where, row in _rows(path):
        found: dict[str, dict[str, float]] = {"train": {}, "held_out": {}, "": {}}
        for field, value in row.items():
            split, rest = _split_of(field)
            if (name := ours.get(rest)) and value is not None:
                found[split].setdefault(name, _number(where, field, value))
        shared = {k: v for k, v in found[""].items() if k in ("step", "epoch")}
        own = {k: v for k, v in found[""].items() if k not in shared}
        found["train"] = own | found["train"]
        for split, kept in tables.items():
            if set(found[split]) - {"step", "epoch", "rate"}:
                kept.append({**shared, **found[split]})
    if not any(tables.values()):
        raise unreadable(str(path), "rows with a loss or rewards of DPO", "none")
    return RunLog(*(table(rows) for rows in tables.values()))


def table(rows: list[dict[str, float]]) -> Columns:
    """Rows of `FIELDS` as columns ``(rows,)``, sorted by step; what a row lacks is nan.

    >>> table([{"step": 2, "loss": 0.6}, {"step": 1, "loss": 0.7}])["loss"].tolist()
    [0.7, 0.6]
    """
    columns = {name: np.array([row.get(name, math.nan) for row in rows]) for name in FIELDS}
    if np.isnan(columns["margin"]).all():
        columns["margin"] = columns["chosen"] - columns["rejected"]
    order = np.argsort(columns["step"], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def log_of(train: list[dict[str, float]], held_out: list[dict[str, float]] | None = None) -> RunLog:
    """A log of rows that are at hand, under the names of `FIELDS`.

    >>> log_of([{"step": 1, "loss": 0.7}]).train["loss"].tolist()
    [0.7]
    """
    return RunLog(table(train), table(held_out or []))


def read_pairs(path: str | Path) -> Columns:
    """A dump of pairs as columns ``(rows,)``; ``held_out`` is 0 or 1, ids and prompts are numbers.

    Raises
    ------
    ValueError : a row is no JSON object, lacks a sum of log-probabilities or has one that is no
        number; the message names line and field.
    OSError : there is no such file.

    >>> pairs = read_pairs(Path(__file__).parent / "data" / "audit" / "healthy.pairs.jsonl.gz")
    >>> len(pairs["step"]), int(pairs["held_out"].sum())
    (336, 192)
    """
    path = Path(path)
    columns = {name: array("d") for name in (*SUMS, *OTHERS, *KEYS, "held_out")}
    named: dict[object, int] = {}
    for number, line in lines(path):
        row = _parsed(path, number, line)
        row["held_out"] = row.get("split", "train") != "train"
        for name, column in columns.items():
            value = row.get(name)
            if name in KEYS and value is not None:
                column.append(named.setdefault(value, len(named)))
            elif isinstance(value, (int, float)):
                column.append(value)
            elif value is None and name not in SUMS:
                column.append(math.nan)
            else:
                got = "none" if value is None else repr(value)
                raise unreadable(f"{path}, line {number}, field {name}", "a number", got)
    if not columns["held_out"]:
        raise unreadable(str(path), "a line for each pair and step", "none")
    return {name: np.array(column) for name, column in columns.items()}
