"""Read what trainers write: a log, one row for each time it logged, and a dump of pairs.

Rows become columns under the names of `FIELDS`, whatever the trainer calls them; what a row lacks
is nan. Logs: TRL's and LLaMA-Factory's ``trainer_state.json`` and JSON lines, OpenRLHF's metrics,
tables with a head (CSV). A dump of pairs is JSON lines as `dpo_edu.testing.DumpPairs` writes them.
A file that ends in ``.gz`` is unpacked.
"""

import csv
import gzip
import json
import math
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dpo_edu._checks import Floats

# What each quantity is called, in the order of trust; ``eval_``, ``eval/`` or ``train/`` in front
# say which split. TRL: trl/trainer/dpo_trainer.py and transformers' Trainer. LLaMA-Factory:
# src/llamafactory/train/dpo/trainer.py and train/callbacks.py. OpenRLHF:
# openrlhf/trainer/dpo_trainer.py.
FIELDS = {
    "step": ("step", "current_steps", "global_step", "Step", "_step"),
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
SHARED = ("step", "epoch")  # what a row says of both splits
LARGEST = 1e12  # no loss, reward or norm of a run that is one
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
    """Columns of the training rows and of the rows on held-out pairs, each ``(rows,)`` float64.

    What a row lacks is nan; what it has and is no number (NaN, or beyond `LARGEST`) is inf.
    """

    train: Columns
    held_out: Columns


def unreadable(where: str, expected: str, got: object) -> ValueError:
    """The error for a file: the place in it, what was expected, what came.

    >>> unreadable("a.csv, line 3, field loss", "a number", "'?'")
    ValueError("a.csv, line 3, field loss: expected a number, got '?'")
    """
    return ValueError(f"{where}: expected {expected}, got {got}")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text file in UTF-8.

    Raises
    ------
    ValueError : it is no such text, or no whole gzip file.

    >>> next(lines(Path(__file__)))
    (1, '...')
    """
    opened = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(f"{path}, line {number}", "text in UTF-8", error.reason) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise unreadable(str(path), "a whole gzip file", error) from None


def _parsed(where: str, text: str, expected: str = "a JSON object") -> Any:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and expected == "JSON":
            where += f", line {error.lineno}"
        raise unreadable(where, expected, getattr(error, "msg", error)) from None
    if expected == "a JSON object" and not isinstance(tree, dict):
        raise unreadable(where, expected, type(tree).__name__)
    return tree


def _table(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a CSV; ``run - train/loss`` is how Weights & Biases heads a column of one run."""
    reader = csv.DictReader(line for _, line in lines(path))
    try:
        heads: dict[str, str] = {}
        for head in reader.fieldnames or ():
            if heads.setdefault(head.rpartition(" - ")[2], head) != head:
                raise unreadable(f"{path}, line 1", "the columns of one run", repr(head))
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row:
                raise unreadable(where, f"as many cells as line 1, {len(heads)}", "more")
            yield where, {short: row[head] for short, head in heads.items() if row[head]}
    except csv.Error as error:
        raise unreadable(f"{path}, line {reader.line_num + 1}", "a row of a CSV", error) from None


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of a log, with its place in the file."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".csv"):
        yield from _table(path)
    elif name.endswith(".json"):
        tree = _parsed(str(path), "".join(line for _, line in lines(path)), "JSON")
        history = tree.get("log_history") if isinstance(tree, dict) else tree
        if not isinstance(history, list):
            raise unreadable(str(path), "a list of rows under log_history", "none")
        for place, row in enumerate(history):
            if not isinstance(row, dict):
                raise unreadable(f"{path}, row {place}", "an object", type(row).__name__)
            yield f"{path}, row {place}", row
    else:
        for number, line in lines(path):
            if line.strip():
                yield f"{path}, line {number}", _parsed(f"{path}, line {number}", line)


def _number(where: str, field: str, value: object) -> float:
    """A number as a float; inf for what is logged and is none that a run could have."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise unreadable(f"{where}, field {field}", "a number", repr(value)[:40]) from None
    except OverflowError:
        number = math.inf
    if not abs(number) < LARGEST and field.rpartition("/")[2] in FIELDS["step"]:
        raise unreadable(f"{where}, field {field}", "a number of a step", number)
    return number if abs(number) < LARGEST else math.inf


def _split_of(field: str) -> tuple[str, str]:
    """Which split a field of a log speaks of, ``train``, ``held_out`` or ``""``, and its name."""
    for mark, split in (("eval_", "held_out"), ("eval/", "held_out"), ("train/", "train")):
        if field.startswith(mark):
            rest = field.removeprefix(mark)
            return split, rest.removeprefix("eval_")
    return "", field


def _quantities(where: str, row: dict[str, Any], name: str) -> dict[str, dict[str, float]]:
    """The quantities of a row by split, each under the first of its names in `FIELDS`."""
    given = {
        (split, rest.removeprefix(f"{name}_") if name and split == "held_out" else rest): field
        for field in row
        for split, rest in [_split_of(field)]
        if row[field] is not None
    }
    found: dict[str, dict[str, float]] = {"train": {}, "held_out": {}, "": {}}
    for split, mine in found.items():
        for quantity, others in FIELDS.items():
            for field in [given[split, theirs] for theirs in others if (split, theirs) in given]:
                mine.setdefault(quantity, _number(where, field, row[field]))
    found["train"] = found[""] | found["train"]
    found["held_out"] = {k: v for k, v in found["train"].items() if k in SHARED} | found["held_out"]
    return found


def _other_set(row: dict[str, Any], name: str) -> str:
    """The held-out set that a row speaks of where a trainer has several, empty where it is ours.

    TRL gives the set's name to the loss alone: ``eval_NAME_loss`` beside ``eval_rewards/chosen``.
    """
    named = [rest for split, rest in map(_split_of, row) if split == "held_out"]
    told = {rest.removesuffix("_loss") for rest in named if rest.endswith("loss")}
    return "" if not told or (name or "loss") in told else min(told)


def read_log(path: str | Path, held_out: str = "") -> RunLog:
    """A trainer's log as columns.

    Parameters
    ----------
    path : the log.
    held_out : which set of held-out pairs to read, where there are several.

    Raises
    ------
    ValueError : the file holds no row with a loss or a reward, or a field is no number; the message
        names line and field.
    OSError : there is no such file.

    >>> run = read_log(Path(__file__).parent / "data" / "audit" / "healthy.log.jsonl")
    >>> len(run.train["step"]), len(run.held_out["step"])
    (30, 3)
    """
    path, fields, others = Path(path), dict[str, None](), set[str]()
    tables: dict[str, list[dict[str, float]]] = {"train": [], "held_out": []}
    for where, row in _rows(path):
        fields |= dict.fromkeys(row)
        found = _quantities(where, row, held_out)
        if other := _other_set(row, held_out):
            others.add(other)
            found["held_out"] = {}
        for split, kept in tables.items():
            if set(found[split]) - {*SHARED, "rate"}:
                kept.append(found[split])
    if others and not tables["held_out"]:
        sets = " or ".join(sorted(others))
        raise unreadable(str(path), f"held_out to be {sets}", repr(held_out))
    if not any(tables.values()):
        got = f"the fields {', '.join(fields)[:80]}" if fields else "no rows"
        raise unreadable(str(path), "rows with a loss or rewards of DPO", got)
    return RunLog(*(table(rows) for rows in tables.values()))


def table(rows: list[dict[str, float]]) -> Columns:
    """Rows of `FIELDS` as columns ``(rows,)``, sorted by step; what a row lacks is nan.

    >>> table([{"step": 2, "loss": 0.6}, {"step": 1, "loss": 0.7}])["loss"].tolist()
    [0.7, 0.6]
    """
    columns = {name: np.array([row.get(name, math.nan) for row in rows]) for name in FIELDS}
    if np.isnan(columns["margin"]).all():
        with np.errstate(invalid="ignore"):  # of two numbers that are none
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
    named: dict[str, int] = {}
    for number, line in lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = _parsed(where, line)
        row["held_out"] = row.get("split", "train") != "train"
        for name, column in columns.items():
            value = row.get(name)
            if value is None and name not in SUMS:
                column.append(math.nan)
            elif name in KEYS:
                column.append(named.setdefault(str(value), len(named)))
            elif isinstance(value, (int, float)) and abs(value) < LARGEST:  # nearly always
                column.append(value)
            else:
                column.append(_number(where, name, value))
    if not columns["held_out"]:
        raise unreadable(str(path), "a line for each pair and step", "none")
    return {name: np.array(column) for name, column in columns.items()}
