"""Logs of three trainers are read alike, and a file that cannot be read is told by its place."""

import csv
import gzip
import json
import math
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

from dpo_edu import audit, runlogs

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
        ("a.jsonl", '{"epoch": 1}\n', "rows with a loss or rewards of DPO, got the fields epoch"),
        (
            "a.json",
            '{"log_history": []}',
            "expected rows with a loss or rewards of DPO, got no rows",
        ),
        ("a.jsonl", '{"loss": 1}\n{"loss": %s}\n' % ("9" * 5000), "line 2: expected a JSON object"),
        ("a.jsonl", "[" * 100_000, "line 1: expected a JSON object, got maximum recursion depth"),
        ("a.jsonl", '{"step": Infinity, "loss": 1}', "line 1, field step: expected a number of a"),
        ("a.jsonl", '{"eval_a_loss": 1}\n{"eval_b_loss": 1}', "expected held_out to be a or b"),
        (
            "a.csv",
            "step,loss\n\n1,0.7,3\n",
            "line 3: expected as many cells as line 1, 2, got more",
        ),
        (
            "a.csv",
            "step,loss\n1," + "9" * 200_000,
            "line 2: expected a row of a CSV, got field larger",
        ),
        (
            "a.csv",
            "a - loss,b - loss\n1,2\n",
            "line 1: expected the columns of one run, got 'b - loss'",
        ),
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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"loss": 1}\n\xff\xfe', "line 2: expected text in UTF-8, got invalid start"),
        ("a.jsonl.gz", b"no", "a.jsonl.gz: expected a whole gzip file, got Not a gzipped file"),
        (
            "a.jsonl.gz",
            gzip.compress(b"1" * 99, mtime=0)[:-9],
            "expected a whole gzip file, got Compressed",
        ),
    ],
)
def test_a_file_that_is_no_text_is_told(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(said)):
        runlogs.read_log(tmp_path / name)


def test_what_a_row_lacks_is_nan_and_what_is_no_number_is_inf(tmp_path):
    rows = [{"step": 1, "loss": math.nan}, {"step": 2, "loss": None, "grad_norm": 1}]
    rows += [{"step": 3, "loss": 10**400}, {"step": 4, "loss": "0.5"}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log = runlogs.read_log(written(tmp_path / "log.jsonl", rows))
        audit.audit(log)
    np.testing.assert_array_equal(log.train["loss"], [math.inf, math.nan, math.inf, 0.5])


def test_tables_of_weights_and_biases_are_read(tmp_path):
    """The run's name stands in a head; empty cells lack; train/global_step is before _step."""
    (tmp_path / "a.csv").write_text(
        "\ufeffStep,run - loss,run - loss__MIN\n1,0.7,0.7\n2,,\n", "utf-8"
    )
    assert runlogs.read_log(tmp_path / "a.csv").train["loss"].tolist() == [0.7]
    text = "_step,train/loss,eval/loss,train/global_step\n0,0.7,,10\n1,,0.6,10\n2,NaN,,20\n"
    (tmp_path / "b.csv").write_text(text)
    log = runlogs.read_log(tmp_path / "b.csv")
    assert (log.train["step"].tolist(), log.held_out["step"].tolist()) == ([10, 20], [10])
    assert log.train["loss"].tolist() == [0.7, math.inf]


def test_one_of_several_held_out_sets_is_read(tmp_path):
    rows = [{"step": 1, f"eval_{name}_loss": k, "eval_rewards/chosen": k, "eval_nll_loss": 9}
            for k, name in enumerate("ab")]  # fmt: skip
    log = runlogs.read_log(written(tmp_path / "log.jsonl", rows), held_out="b")
    assert (log.held_out["loss"].tolist(), log.held_out["chosen"].tolist()) == ([1], [1])
    rows = [{"step": 1, "eval_loss": 1, "eval_nll_loss": 9}]
    assert runlogs.read_log(written(tmp_path / "log.jsonl", rows)).held_out["loss"].tolist() == [1]


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
            "line 2, field rejected_logps: expected a number, got None",
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
