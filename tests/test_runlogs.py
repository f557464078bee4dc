"""Logs of three trainers are read alike, and a file that cannot be read is told by its place."""

import csv
import gzip
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from dpo_edu import runlogs

TRL = [
    {"loss": 0.69, "rewards/chosen": 0.1, "rewards/rejected": -0.1, "rewards/margins": 0.2,
     "rewards/accuracies": 0.5, "logps/chosen": -9.0, "logps/rejected": -8.0, "grad_norm": 2.0,
     "learning_rate": 1e-3, "epoch": 0.5, "step": 1},
    {"eval_loss": 0.6, "eval_rewards/chosen": 0.2, "eval_rewards/rejected": -0.2,
     "eval_rewards/accuracies": 0.7, "eval_runtime": 1.0, "epoch": 0.5, "step": 1},
    {"train_runtime": 9.0, "train_loss": 0.6, "step": 2},
]  # fmt: skip
OPEN_RLHF = [
    {"train/loss": 0.69, "train/acc": 0.5, "train/chosen_reward": 0.1,
     "train/reject_reward": -0.1, "train/lr": 1e-3, "train/loss_mean": 0.7, "train/global_step": 1},
    {"eval/eval_loss": 0.6, "eval/acc_mean": 0.7, "eval/global_step": 1},
]  # fmt: skip
FACTORY = [{"current_steps": 1, "loss": 0.69, "accuracy": 0.5, "lr": 1e-3, "epoch": 0.5}]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("rows", [TRL, OPEN_RLHF, FACTORY])
def test_rows_of_each_trainer_come_under_our_names(tmp_path, rows):
    log = runlogs.read_log(written(tmp_path / "log.jsonl", rows))
    train = {name: column.tolist() for name, column in log.train.items()}
    assert (train["loss"], train["accuracy"], train["rate"]) == ([0.69], [0.5], [1e-3])
    assert train["step"] == [1]
    if rows is not FACTORY:
        assert (train["chosen"], train["rejected"]) == ([0.1], [-0.1])
        assert train["margin"] == [0.2]
        assert (log.held_out["loss"].tolist(), log.held_out["accuracy"].tolist()) == ([0.6], [0.7])
        assert log.held_out["step"].tolist() == [1]


def test_state_lines_table_and_packed_lines_are_read_alike(tmp_path):
    lines = written(tmp_path / "log.jsonl", TRL)
    state = tmp_path / "trainer_state.json"
    state.write_text(json.dumps({"log_history": TRL, "global_step": 2}))
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    table = tmp_path / "log.csv"
    with table.open("w", newline="") as file:
        heads = list(dict.fromkeys(name for row in TRL for name in row))
        writer = csv.DictWriter(file, heads)
        writer.writeheader()
        writer.writerows(TRL)
    first, *others = (runlogs.read_log(path) for path in (lines, state, packed, table))
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            for name in runlogs.FIELDS:
                np.testing.assert_array_equal(mine[name], theirs[name])


def test_rows_are_sorted_by_step_and_holes_are_nan(tmp_path):
    rows = [{"loss": 0.5, "step": 3}, {"loss": 0.7, "rewards/chosen": 0.0, "step": 1}]
    train = runlogs.read_log(written(tmp_path / "log.jsonl", rows)).train
    assert train["loss"].tolist() == [0.7, 0.5]
    assert np.isnan(train["chosen"]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "a.jsonl",
            '{"loss": 1}\n{"loss": "x"}\n',
            "line 2, field loss: expected a number, got 'x'",
        ),
        ("a.jsonl", '{"loss": 1}\n\n{"loss": \n', "line 3: expected a JSON object, got Expecting"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object, got list"),
        ("a.jsonl", '{"epoch": 1}\n', "expected rows with a loss or rewards of DPO, got none"),
        ("a.json", '{"a": 1}', "expected a list of rows under log_history, got none"),
        ("a.json", '{"log_history": [1]}', "row 0: expected an object, got int"),
        ("a.json", '{"log_history":\n [}', "line 2: expected JSON, got Expecting"),
        ("a.csv", "step,loss\n1,0.7\n2,?\n", "line 3, field loss: expected a number, got '?'"),
    ],
)
def test_a_log_that_cannot_be_read_is_told_by_line_and_field(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        runlogs.read_log(tmp_path / name)


PAIR = {"step": 0, "split": "eval", "id": "a", "chosen_logps": -1.0, "rejected_logps": -2.0}
PAIR |= {"ref_chosen_logps": -1.5, "ref_rejected_logps": -2.5, "chosen_ended": True}


def test_a_dump_of_pairs_as_columns(tmp_path):
    rows = [PAIR, PAIR | {"split": "train", "id": "b", "chosen_tokens": 3}, PAIR]
    pairs = runlogs.read_pairs(written(tmp_path / "pairs.jsonl", rows))
    assert pairs["held_out"].tolist() == [1, 0, 1]
    assert pairs["id"][0] == pairs["id"][2] != pairs["id"][1]
    assert pairs["chosen_ended"].tolist() == [1, 1, 1]
    assert np.isnan(pairs["chosen_tokens"]).tolist() == [True, False, True]
    assert pairs["ref_chosen_logps"].tolist() == [-1.5] * 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            PAIR | {"rejected_logps": None},
            "line 2, field rejected_logps: expected a number, got none",
        ),
        (PAIR | {"loss": "low"}, "line 2, field loss: expected a number, got 'low'"),
    ],
)
def test_a_dump_that_cannot_be_read_is_told_by_line_and_field(tmp_path, row, said):
    path = written(tmp_path / "pairs.jsonl", [PAIR, row])
    with pytest.raises(ValueError, match=re.escape(said)):
        runlogs.read_pairs(path)
    with pytest.raises(ValueError, match="expected a line for each pair and step, got none"):
        runlogs.read_pairs(written(tmp_path / "empty.jsonl", []))


def test_a_dump_of_many_pairs_needs_little_memory(tmp_path):
    """100,000 rows in less than 100 MiB more than one row: a million fit in a GiB."""
    code = "import resource, sys; from dpo_edu import audit, runlogs; "
    code += "audit.audit_pairs.reference_constant(runlogs.read_pairs(sys.argv[1]), None); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    used = []
    for size in (1, 100_000):
        path = written(tmp_path / f"{size}.jsonl", [PAIR | {"id": k} for k in range(size)])
        run = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        used.append(int(run.stdout))
    assert used[1] - used[0] < 100 * 1024  # KiB
