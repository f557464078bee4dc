"""The audit names what is off: in planted logs of a real trainer, and in rows made by hand."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpo_edu import audit, audit_log, audit_pairs, findings, losses, runlogs
from dpo_edu.findings import ADVICE, FIRST_LOSS, Finding, Setting
from tools import notebooks

LOGS = Path(__file__).parent / "logs"
FAULTS = ("beta", "beta-twice", "dead", "dropout", "duplicates", "end-token", "mean", "precision")
FAULTS += ("rate", "reference", "swapped", "truncated")
PLANTED = sorted(path.name.removesuffix(".log.jsonl.gz") for path in LOGS.glob("*.log.jsonl.gz"))
HEALTHY = [name for name in PLANTED if name.rpartition("-")[0] not in FAULTS]
MEANT = Setting(beta=0.1, labels="votes", pairs_from="ref")
OTHERWISE = {
    "ipo": {"loss": "ipo"},
    "ipo-large": {"loss": "ipo", "beta": 0.5},
    "hinge": {"loss": "hinge"},
    "nca": {"loss": "nca_pair"},
    "apo": {"loss": "apo_zero"},
    "beta-large": {"beta": 0.5},
    "beta-small": {"beta": 0.03},
    "rule": {"labels": "rule"},
    "bestworst-4": {"pairs_from": "bestworst:4"},
    "bestworst-8": {"pairs_from": "bestworst:8"},
}


def audited(name):
    log = runlogs.read_log(LOGS / f"{name}.log.jsonl.gz")
    pairs = runlogs.read_pairs(LOGS / f"{name}.pairs.jsonl.gz")
    return audit.audit(log, pairs, replace(MEANT, **OTHERWISE.get(name.rpartition("-")[0], {})))


def failed(found):
    return [finding for finding in found if finding.verdict == "FAIL"]


# --- runs of TRL, each with one fault or none -----------------------------------------------------


def test_all_planted_runs_are_here():
    assert len(HEALTHY) == 20
    assert sorted(set(PLANTED) - set(HEALTHY)) == [
        f"{f}-{seed}" for f in FAULTS for seed in range(3)
    ]


@pytest.mark.parametrize("name", sorted(set(PLANTED) - set(HEALTHY)))
def test_the_first_failure_names_the_planted_fault(name):
    assert failed(audited(name))[0].fault == name.rpartition("-")[0]


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_fails_in_a_healthy_run(name):
    assert failed(audited(name)) == []


# --- checks of the log ----------------------------------------------------------------------------


def log_of(train=None, held_out=None):
    """A log with these columns, the others nan; steps from 1."""
    tables = []
    for given in (train or {}, held_out or {}):
        rows = max((len(column) for column in given.values()), default=0)
        table = {name: np.full(rows, np.nan) for name in runlogs.FIELDS}
        table["step"] = np.arange(1.0, rows + 1)
        tables.append(table | {name: np.array(column, float) for name, column in given.items()})
    return runlogs.RunLog(*tables)


def verdict(finding):
    return finding.verdict, finding.fault


MOVED = {"chosen": [0.3] * 20, "rejected": [0.3] * 20}  # rewards of a policy that is none's copy
STILL = {"chosen": [0.3, 0.3], "rejected": [0.1, 0.1]}
FALLING = {"chosen_logps": [-20, -30], "chosen": [0, 1]} | {
    "rejected_logps": [-20, -30],
    "rejected": [0, 1],
}
UNMOVED = {"accuracy": [0.0], "margin": [0.0]}
LATER = {"step": [10, 20], "loss": [0.3, 0.1]}
SMOOTHED = {"loss": [math.log1p(math.exp(0.1)) - 0.02], "margin": [-0.1]}
LOW = {"loss": [0.2, 0.1]}
NEAR_ZERO = {"loss": [1.0], "accuracy": [0.44], "margin": [-0.1]}


@pytest.mark.parametrize(
    ("check", "train", "held_out", "setting", "expected"),
    [
        ("finite", {"loss": [0.7, math.inf]}, {}, {}, ("FAIL", "nan")),
        ("finite", {"loss": [0.7, 0.6], "grad_norm": [1, math.inf]}, {}, {}, ("WARN", "nan")),
        ("finite", {"loss": [0.7, 0.6], "chosen": [0, math.nan]}, {}, {}, ("PASS", "")),
        ("finite", {"loss": [0.7, 0.6]}, {}, {}, ("PASS", "")),
        ("alive", {"chosen": [0] * 9, "rejected": [0] * 9}, {}, {}, ("FAIL", "dead")),
        ("alive", {"chosen": [0.1] * 9, "rejected": [0] * 9}, {}, {}, ("PASS", "")),
        ("alive", {"chosen": [0.0], "rejected": [0.0]}, {}, {}, ("N/A", "")),
        ("alive", MOVED, {"step": [1, 20], **STILL}, {}, ("FAIL", "dead")),
        ("alive", MOVED, {"step": [20, 20], **STILL}, {}, ("PASS", "")),
        ("alive", MOVED | {"rate": [1, 1, 1, 1, 1, 1, 1] + [0] * 13}, {}, {}, ("WARN", "dead")),
        ("beta", {}, FALLING, {}, ("FAIL", "beta")),
        ("beta", {}, FALLING, {"beta": 0.1}, ("FAIL", "beta")),
        ("first_loss", {"loss": [0.6931, 0.68]}, {}, {}, ("PASS", "")),
        ("first_loss", {"loss": [0.71, 0.68]}, {}, {}, ("FAIL", "reference")),
        ("first_loss", {"loss": [0.6914, 0.68]}, {}, {}, ("PASS", "")),
        ("first_loss", UNMOVED | {"loss": [1.9]}, {}, {}, ("FAIL", "loss")),
        ("first_loss", {"loss": [1.9]}, {}, {"loss": "other"}, ("N/A", "")),
        ("first_loss", LATER, {"step": [0], "loss": [0.6931]}, {}, ("PASS", "")),
        ("first_loss", LATER, {"step": [0], "loss": [0.75]}, {}, ("FAIL", "reference")),
        ("first_loss", {"step": [501, 502], "loss": [0.4, 0.4]}, {}, {}, ("N/A", "")),
        ("first_loss", {"step": [50, 100], "loss": [0.3, 0.1]}, {}, {}, ("N/A", "")),
        ("first_loss", {"loss": [0.6958, 0.68]}, {}, {}, ("WARN", "reference")),
        ("first_loss", {"loss": [1.0, 0.9]}, {}, {"loss": "hinge"}, ("PASS", "")),
        ("first_loss", {"loss": [25.0, 20]}, {}, {"loss": "ipo", "beta": 0.1}, ("PASS", "")),
        ("first_loss", {"loss": [25.0, 20]}, {}, {"loss": "ipo"}, ("N/A", "")),
        ("first_loss", {"step": [10, 20], "loss": [0.68, 0.66]}, {}, {}, ("PASS", "")),
        ("first_loss", {"step": [10, 20], "loss": [1.0, 0.99]}, {}, {}, ("FAIL", "reference")),
        ("first_accuracy", UNMOVED | {"loss": [0.7]}, {}, {}, ("PASS", "")),
        (
            "first_accuracy",
            {"loss": [0.7], "accuracy": [0.5], "margin": [1e-3]},
            {},
            {},
            ("WARN", "reference"),
        ),
        ("first_accuracy", {"step": [10], "accuracy": [0.5]}, {}, {}, ("N/A", "")),
        ("arithmetic", {"chosen": [1], "rejected": [0.5], "margin": [0.5]}, {}, {}, ("PASS", "")),
        (
            "arithmetic",
            {"chosen": [1], "rejected": [0.5], "margin": [0.4]},
            {},
            {},
            ("FAIL", "arithmetic"),
        ),
        ("arithmetic", {"loss": [0.6], "margin": [0.0]}, {}, {}, ("FAIL", "arithmetic")),
        ("arithmetic", {"loss": [0.6], "margin": [0.0]}, {}, {"loss": "hinge"}, ("PASS", "")),
        ("arithmetic", {"loss": [0.65], "margin": [-0.1]}, {}, {}, ("FAIL", "arithmetic")),
        ("arithmetic", SMOOTHED, {}, {"label_smoothing": 0.2}, ("PASS", "")),
        ("arithmetic", {}, {"loss": [0.6], "margin": [0.0]}, {}, ("N/A", "")),
        ("held_out_loss", {}, {"loss": [0.69, 0.6]}, {}, ("PASS", "")),
        ("held_out_loss", {}, {"loss": [0.69, 0.8]}, {}, ("FAIL", "rate")),
        (
            "held_out_loss",
            {"margin": [1, 1]},
            {"loss": [0.8], "accuracy": [0.2], "margin": [-1]},
            {},
            ("FAIL", "swapped"),
        ),
        ("held_out_loss", LOW, {"loss": [0.6, 0.65]}, {}, ("WARN", "memory")),
        ("held_out_loss", LOW | {"epoch": [0.5, 1]}, {"loss": [0.6, 0.65]}, {}, ("PASS", "")),
        ("held_out_loss", LOW | {"epoch": [2, 3]}, {"loss": [0.6, 0.8]}, {}, ("FAIL", "memory")),
        ("held_out_loss", LOW | {"epoch": [0.5, 1]}, {"loss": [0.6, 0.8]}, {}, ("FAIL", "rate")),
        ("held_out_loss", LOW | {"margin": [4, 4]}, NEAR_ZERO, {}, ("FAIL", "memory")),
        ("held_out_loss", {}, {"loss": [3.4]}, {"loss": "other"}, ("N/A", "")),
        (
            "training_accuracy",
            {"accuracy": [1.0] * 5},
            {},
            {"labels": "votes"},
            ("WARN", "memory"),
        ),
        ("training_accuracy", {"accuracy": [1.0] * 4}, {}, {"labels": "votes"}, ("PASS", "")),
        (
            "training_accuracy",
            {"accuracy": [1.0] * 5, "epoch": [0.1] * 5},
            {},
            {"labels": "votes"},
            ("PASS", ""),
        ),
        (
            "training_accuracy",
            {"accuracy": [1.0, 0.75, 1, 0.5, 1]},
            {"accuracy": [0.65]},
            {"labels": "votes"},
            ("PASS", ""),
        ),
        ("training_accuracy", {"accuracy": [0.5, 1.0]}, {}, {"labels": "rule"}, ("N/A", "")),
        (
            "training_accuracy",
            {"accuracy": [0.5, 1.0]},
            {},
            {"labels": "votes", "pairs_from": "bestworst:4"},
            ("N/A", ""),
        ),
        (
            "training_accuracy",
            {"accuracy": [0.7]},
            {"accuracy": [0.7]},
            {"labels": "votes"},
            ("PASS", ""),
        ),
        (
            "kl_meter",
            {},
            {"chosen": [-0.4], "rejected": [-0.8], "margin": [0.4]},
            {"beta": 0.1, "pairs_from": "ref"},
            ("PASS", ""),
        ),
        (
            "kl_meter",
            {},
            {"chosen": [0.8], "rejected": [0.4], "margin": [0.4]},
            {"beta": 0.1, "pairs_from": "ref"},
            ("WARN", "pairs"),
        ),
        (
            "kl_meter",
            {},
            {"chosen": [0.8], "rejected": [0.4], "margin": [0.4]},
            {"beta": 0.1},
            ("N/A", ""),
        ),
        (
            "kl_meter",
            {},
            {"chosen": [1e-3], "rejected": [1e-3], "margin": [0.0]},
            {"beta": 0.1, "pairs_from": "ref"},
            ("PASS", ""),
        ),
        ("clipped", {"grad_norm": [9.0] * 20}, {}, {}, ("WARN", "clipping")),
        ("clipped", {"grad_norm": [9.0] * 20}, {}, {"clip": 10.0}, ("PASS", "")),
        ("clipped", {"loss": [0.7]}, {}, {}, ("N/A", "")),
    ],
)
def test_a_check_of_the_log(check, train, held_out, setting, expected):
    found = getattr(audit_log, check)(log_of(train, held_out), Setting(**setting))
    assert verdict(found) == expected


def stairs(step, slope, noise=0.01):
    """Three epochs of 40 rows each: a loss with a step down at each border, and a slope."""
    epoch = np.arange(1, 121) / 40
    loss = 0.69 - slope * epoch - step * np.ceil(epoch - 1)
    return {"epoch": epoch, "loss": loss + noise * np.random.default_rng(0).normal(size=120)}


@pytest.mark.parametrize(
    ("step", "slope", "expected"), [(0.1, 0.0, "WARN"), (0, 0.2, "PASS"), (0, 0, "PASS")]
)
def test_steps_at_epoch_borders_are_told_from_a_slope(step, slope, expected):
    assert audit_log.epoch_steps(log_of(stairs(step, slope)), Setting()).verdict == expected


def test_epoch_borders_need_two_epochs_of_many_rows():
    short = {name: column[:40] for name, column in stairs(0.1, 0.0).items()}
    assert audit_log.epoch_steps(log_of(short), Setting()).verdict == "N/A"
    assert audit_log.epoch_steps(log_of({"loss": [0.7]}), Setting()).verdict == "N/A"


@pytest.mark.parametrize(
    ("margin", "loss", "expected"),
    [(9.0, "sigmoid", "WARN"), (0.5, "sigmoid", "PASS"), (9.0, "ipo", "N/A")],
)
def test_what_is_left_of_the_gradient(margin, loss, expected):
    found = audit_log.saturation(log_of({"margin": [margin]}), Setting(loss, 0.1))
    assert found.verdict == expected


@pytest.mark.parametrize(
    ("stated", "expected"), [(0.1, "PASS"), (0.2, "FAIL"), (0.01, "FAIL"), (None, "N/A")]
)
def test_beta_is_read_off_two_evaluations_of_the_same_pairs(stated, expected):
    nats = np.array([-20.0, -21.0, -24.0])
    held = {"chosen_logps": nats, "chosen": 0.1 * (nats + 19), "rejected_logps": 2 * nats}
    held["rejected"] = 0.1 * (2 * nats + 40)
    log = log_of({}, held)
    assert audit_log.measured_beta(log) == pytest.approx(0.1)
    assert audit_log.beta(log, Setting(beta=stated)).verdict == expected
    other_pairs = held | {"chosen": np.array([0.1, 0.3, -0.2])}
    assert audit_log.beta(log_of({}, other_pairs), Setting(beta=0.1)).verdict == "N/A"


def test_a_mean_over_steps_is_followed_back_to_the_first():
    curve = np.log(2) - 0.002 * np.arange(20)  # the loss before step 1, 2, ...
    rows = {"step": [10, 20], "loss": [curve[:10].mean(), curve[10:].mean()]}
    value, moved = audit_log.followed_back(log_of(rows))
    assert value == pytest.approx(np.log(2), abs=1e-12)
    assert moved == pytest.approx(0.009)


@pytest.mark.parametrize(
    "name",
    [name for name in FIRST_LOSS if name not in ("sigmoid_norm", "aot", "aot_unpaired", "other")],
)
def test_the_first_loss_is_that_of_our_own_losses_at_equal_policies(name):
    same, own = torch.zeros(1).double(), {"nca_pair": "nca", "bco_pair": "bco", "sppo_hard": "sppo"}
    loss = getattr(losses, f"{own.get(name, name).replace('sigmoid', 'dpo')}_loss")
    for beta in (0.1, 2.0):
        expected = loss(same, same, same, same, beta=beta).item()
        assert findings.first_loss(name, beta) == pytest.approx(expected, rel=1e-12)


# --- checks of the pairs --------------------------------------------------------------------------


def dump(rows=64, beta=0.1, seed=0):
    """A healthy dump: steps 0 to 3 of training pairs, then an evaluation of other pairs, twice."""
    rng = np.random.default_rng(seed)
    step = np.repeat([0.0, 1, 2, 3, 3, 4], rows // 4)
    held_out = np.repeat([0.0, 0, 0, 0, 1, 1], rows // 4)
    n = len(step)
    pairs = {"step": step, "held_out": held_out, "batch": np.repeat(np.arange(6.0), rows // 4)}
    pairs["id"] = np.where(held_out == 1, 1000 + np.tile(np.arange(rows // 4), 6), np.arange(n))
    pairs["prompt"] = pairs["id"].copy()
    for name in ("chosen", "rejected"):
        ref = np.where(held_out == 1, np.tile(-rng.gamma(9, 3, rows // 4), 6), -rng.gamma(9, 3, n))
        pairs[f"ref_{name}_logps"] = ref
        pairs[f"{name}_tokens"] = rng.integers(8, 14, n).astype(float)
        pairs[f"{name}_logps"] = ref + 0.5 * np.where(step > 0, rng.normal(size=n), 0)
        pairs[f"{name}_ended"] = np.ones(n)
    pairs["same"] = np.zeros(n)
    return with_loss(pairs, beta)


def with_loss(pairs, beta, formula=lambda s: np.logaddexp(0, -s)):
    h = np.subtract(*audit_pairs.log_ratios(pairs))
    means = np.bincount(pairs["batch"].astype(int), formula(beta * h)) / np.bincount(
        pairs["batch"].astype(int)
    )
    return pairs | {"loss": means[pairs["batch"].astype(int)]}


CHECKS = {check.__name__: check for check in audit.OF_PAIRS}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_a_healthy_dump_passes(check):
    assert check(dump(), Setting(beta=0.1)).verdict == "PASS"


def changed(**columns):
    return lambda pairs: pairs | {name: f(pairs) for name, f in columns.items()}


def noisy(scale, where=lambda pairs: pairs["step"] >= 0):
    noise = np.random.default_rng(1).normal(size=96) * scale
    return changed(ref_chosen_logps=lambda pairs: pairs["ref_chosen_logps"] + noise * where(pairs))


def zero_length(pairs):
    h = pairs["chosen_tokens"] - pairs["rejected_tokens"]
    return pairs | {
        "chosen_logps": pairs["ref_chosen_logps"] + h,
        "rejected_logps": pairs["ref_rejected_logps"],
    }


def no_move(pairs):
    names = ("chosen", "rejected")
    return with_loss(pairs | {f"{n}_logps": pairs[f"ref_{n}_logps"] for n in names}, 0.1)


def smoothed(s):
    return 0.8 * np.logaddexp(0, -s) + 0.2 * np.logaddexp(0, s)


@pytest.mark.parametrize(
    ("check", "change", "expected"),
    [
        ("reference_constant", noisy(1.0), ("FAIL", "dropout")),
        ("reference_constant", noisy(0.02), ("WARN", "precision")),
        ("reference_constant", changed(id=lambda p: p["id"] * np.nan), ("N/A", "")),
        ("first_log_ratios", noisy(1.0), ("FAIL", "reference")),
        ("first_log_ratios", noisy(0.03), ("FAIL", "precision")),
        ("first_log_ratios", changed(step=lambda p: p["step"] + 1), ("N/A", "")),
        (
            "first_move",
            changed(chosen_logps=lambda p: p["ref_chosen_logps"] - 9 * p["step"]),
            ("FAIL", "rate"),
        ),
        ("first_move", changed(chosen_tokens=lambda p: p["step"] * np.nan), ("N/A", "")),
        ("first_move", changed(step=lambda p: p["step"] + 500), ("N/A", "")),
        ("displacement", changed(chosen_tokens=lambda p: p["step"] * np.nan), ("N/A", "")),
        ("held_out_pairs", changed(prompt=lambda p: p["step"] * np.nan), ("PASS", "")),
        ("recomputed_loss", lambda p: with_loss(p, 0.01), ("FAIL", "beta-twice")),
        ("recomputed_loss", lambda p: with_loss(p, 1.0), ("FAIL", "loss")),
        ("recomputed_loss", lambda p: with_loss(p, -0.1), ("FAIL", "sign")),
        ("recomputed_loss", no_move, ("N/A", "")),
        ("recomputed_loss", lambda p: with_loss(p, 0.1, smoothed), ("WARN", "loss")),
        ("recomputed_loss", lambda p: with_loss(p, 0.1, lambda s: s**2), ("WARN", "loss")),
        ("recomputed_loss", changed(loss=lambda p: p["loss"] * np.nan), ("N/A", "")),
        (
            "end_tokens",
            changed(chosen_ended=lambda p: 0 * p["step"], rejected_ended=lambda p: 0 * p["step"]),
            ("FAIL", "end-token"),
        ),
        ("end_tokens", changed(rejected_ended=lambda p: p["id"] % 2), ("FAIL", "truncated")),
        (
            "end_tokens",
            changed(
                chosen_ended=lambda p: p["id"] % 4 > 0, rejected_ended=lambda p: p["id"] % 4 > 0
            ),
            ("WARN", "truncated"),
        ),
        ("held_out_pairs", changed(id=lambda p: p["step"] * 0), ("FAIL", "duplicates")),
        ("held_out_pairs", changed(prompt=lambda p: p["step"] * 0), ("WARN", "duplicates")),
        ("held_out_pairs", changed(held_out=lambda p: p["step"] * 0), ("N/A", "")),
        ("identical", changed(same=lambda p: p["id"] % 2), ("WARN", "identical")),
        (
            "displacement",
            changed(
                **{
                    f"{n}_logps": lambda p, n=n: p[f"ref_{n}_logps"] - 20
                    for n in ("chosen", "rejected")
                }
            ),
            ("WARN", "displacement"),
        ),
        ("length", zero_length, ("WARN", "length")),
        ("length", changed(chosen_tokens=lambda p: p["rejected_tokens"]), ("N/A", "")),
    ],
)
def test_a_check_of_the_pairs(check, change, expected):
    assert verdict(CHECKS[check](change(dump()), Setting(beta=0.1))) == expected


def test_ipo_takes_token_means_as_trl_does():
    pairs = dump()
    h = np.subtract(*(audit_pairs.log_ratios(pairs) / audit_pairs.lengths(pairs)))
    per_pair, batch = (h - 1 / (2 * 0.1)) ** 2, pairs["batch"].astype(int)
    pairs["loss"] = (np.bincount(batch, per_pair) / np.bincount(batch))[batch]
    setting = Setting("ipo", 0.1)
    assert audit_pairs.recomputed_loss(pairs, setting).verdict == "PASS"
    of_sums = with_loss(pairs, 1.0, lambda h: (h - 5) ** 2)
    assert verdict(audit_pairs.recomputed_loss(of_sums, setting)) == ("FAIL", "mean")


# --- the whole, and the command -------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["sigmoid", "robust"])
def test_smoothed_labels_are_recomputed_where_they_are_stated(loss):
    formula = smoothed
    if loss == "robust":
        formula = lambda s: (0.8 * np.logaddexp(0, -s) - 0.2 * np.logaddexp(0, s)) / 0.6  # noqa: E731
    pairs = with_loss(dump(), 0.1, formula)
    setting = Setting(loss, 0.1, label_smoothing=0.2)
    assert audit_pairs.recomputed_loss(pairs, setting).verdict == "PASS"


def test_numbers_of_tokens_and_prompts_that_are_unknown_are_not_spoken_of():
    nan = np.full(96, np.nan)
    pairs = dump() | {"prompt": nan, "chosen_tokens": nan, "rejected_tokens": nan}
    assert "prompt" not in audit_pairs.held_out_pairs(pairs, Setting()).found
    assert audit_pairs.recomputed_loss(pairs, Setting(beta=0.1)).verdict == "PASS"
    of_means = Setting("sigmoid_norm", 0.1)
    assert audit_pairs.recomputed_loss(pairs, of_means).verdict == "N/A"


def test_rows_whose_sums_are_no_numbers_are_told_and_left_out():
    pairs, log = dump(), runlogs.log_of([{"loss": 0.7}])
    pairs["chosen_logps"][:16] = np.inf
    found = {finding.check: finding for finding in audit.audit(log, pairs, Setting(beta=0.1))}
    assert verdict(found["sums"]) == ("FAIL", "nan")
    assert found["loss recomputed"].verdict == "PASS"
    pairs["chosen_logps"][:] = np.inf
    assert [f for f in audit.audit(log, pairs) if f.check == "length"] == []


def test_after_a_first_loss_that_is_another_the_stated_one_is_not_held_against_the_run():
    rows = [{"step": 1, "loss": 3.4, "accuracy": 0.0, "margin": 0.0}]
    found = audit.audit(runlogs.log_of(rows, [{"step": 1, "loss": 3.4}]), None, Setting(beta=0.1))
    assert [verdict(finding) for finding in failed(found)] == [("FAIL", "loss")]


def test_where_no_beta_is_stated_the_one_in_the_log_serves():
    log = runlogs.read_log(LOGS / "beta-twice-0.log.jsonl.gz")
    pairs = runlogs.read_pairs(LOGS / "beta-twice-0.pairs.jsonl.gz")
    assert failed(audit.audit(log, pairs))[0].fault == "beta-twice"


def test_where_the_log_has_another_beta_the_pairs_are_judged_by_that():
    found = {finding.check: finding for finding in audited("beta-0")}
    assert found["beta"].verdict == "FAIL"
    assert found["loss recomputed"].verdict == "PASS"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss": "dpo"}, "loss: expected one of sigmoid"),
        ({"beta": 0.0}, "beta: expected a finite number > 0, got 0.0"),
        ({"label_smoothing": 0.5}, "label_smoothing: expected 0 to below 0.5, got 0.5"),
        ({"clip": -1.0}, "clip: expected a finite number > 0"),
        ({"labels": "people"}, "labels: expected votes, rm or rule, got 'people'"),
        ({"pairs_from": "bestworst"}, "pairs_from: expected ref, bestworst:n or other"),
        ({"pairs_from": "ref:2"}, "pairs_from: expected ref, bestworst:n or other"),
    ],
)
def test_a_setting_that_is_none_is_refused(given, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Setting(**given)


def test_every_fault_that_a_check_names_has_advice_and_a_cell_that_exists():
    source = "".join(Path(m.__file__).read_text("utf-8") for m in (audit_log, audit_pairs))
    named = {word for word in re.findall(r'"([a-z-]+)"', source) if word in ADVICE}
    assert named == set(ADVICE)
    for cause, remedy, see in ADVICE.values():
        slug, _, cell = see.partition("#")
        (path,) = notebooks.numbered(slug)
        assert cause.endswith(".") and remedy.endswith(".")
        assert not cell or cell in {cell.id for cell in notebooks.read(path).cells}


def test_the_command_prints_writes_and_says_by_its_status(tmp_path, capsys):
    log = str(audit.DEMO / "healthy.log.jsonl")
    out, figure = tmp_path / "out.json", tmp_path / "run.png"
    more = ["--json", str(out), "--figure", str(figure)]
    assert audit.main(["audit", log, "--beta", "0.1", *more]) == 0
    assert "PASS  first loss         0.6931" in capsys.readouterr().out
    rows = json.loads(out.read_text())
    assert {row["verdict"] for row in rows} <= {"PASS", "N/A"}
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert audit.main(["audit", log, "--beta", "0.2"]) == 1
    said = capsys.readouterr().out
    assert said.index("FAIL  beta") < said.index("The run's beta is not the one that was stated.")
    assert audit.main(["audit", str(tmp_path / "none.jsonl")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_the_demo_shows_a_healthy_and_a_broken_run(capsys):
    assert audit.main(["audit", "--demo"]) == 0
    healthy, broken = capsys.readouterr().out.strip().split("\n\n")
    assert "0 FAIL, 0 WARN" in healthy
    assert "Beta stands twice in the loss." in broken


def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    command = f"'{sys.executable}' -m dpo_edu.audit audit --demo | true; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_command_without_a_log_says_what_it_wants(capsys):
    with pytest.raises(SystemExit):
        audit.main(["audit"])
    assert "expected a log, or --demo" in capsys.readouterr().err


def test_a_finding_without_a_fault_has_no_advice():
    assert audit.told(Finding("x", "PASS", "1")).count("\n") == 0
