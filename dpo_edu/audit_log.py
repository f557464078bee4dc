"""Checks that need only the log: a row for each time that the trainer logged."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpo_edu import runlogs
from dpo_edu._checks import Floats
from dpo_edu.findings import SAME, Finding, Setting, softplus, whose_constant

Columns = runlogs.Columns
RunLog = runlogs.RunLog


def present(columns: Columns, *names: str) -> NDArray[np.bool_]:
    """Which rows have all these quantities.

    >>> present(runlogs.table([{"loss": 0.7}, {"chosen": 0.1}]), "loss").tolist()
    [True, False]
    """
    return np.asarray(np.all([np.isfinite(columns[name]) for name in names], axis=0))


def late(columns: Columns, name: str, share: float = 0.2) -> float:
    """The mean of a quantity over the last rows that have it, nan if none has.

    >>> late(runlogs.table([{"loss": 0.7}, {"loss": 0.6}]), "loss")
    0.6
    """
    values = columns[name][np.isfinite(columns[name])]
    return float(values[-max(1, int(share * len(values))) :].mean()) if len(values) else math.nan


def finite(log: RunLog, _: Setting) -> Finding:
    """Losses, rewards and gradients are finite numbers, once they are logged at all.

    >>> log = runlogs.log_of([{"step": 1, "loss": math.inf}])
    >>> finite(log, Setting()).verdict
    'FAIL'
    """
    bad: list[Any] = []
    for table in log:
        for name in ("loss", "chosen", "rejected", "grad_norm"):
            logged = ~np.isnan(table[name])
            if logged.any():
                bad += list(table["step"][np.isinf(table[name]) | ~logged])
    if bad:
        return Finding("finite", "FAIL", f"not at step {min(bad):g}", "finite numbers", "nan")
    return Finding("finite", "PASS", "all numbers", "finite numbers")


def alive(log: RunLog, _: Setting) -> Finding:
    """Rewards leave 0: something is trained.

    >>> log = runlogs.log_of([{"step": k, "chosen": 0, "rejected": 0} for k in range(9)])
    >>> alive(log, Setting()).fault
    'dead'
    """
    train = log.train
    rows = present(train, "chosen", "rejected") & (train["step"] > 1)
    if rows.sum() < 5:
        return Finding("alive", "N/A", "fewer than five rows with rewards after the first step")
    moved = float(np.abs([train["chosen"][rows], train["rejected"][rows]]).max())
    verdict = ("FAIL", "dead") if moved < 1e-4 else ("PASS", "")
    return Finding("alive", verdict[0], f"rewards up to {moved:.2g}", "not 0", verdict[1])


def measured_beta(log: RunLog) -> float | None:
    """beta as the log has it: how far held-out rewards move per nat of log-probability.

    Held-out pairs are the same at each evaluation, so the reference drops out of the differences.

    >>> held = [{"chosen_logps": -20, "chosen": 0}, {"chosen_logps": -30, "chosen": -1}]
    >>> measured_beta(runlogs.log_of([], held))
    0.1
    """
    moved = []
    for name in ("chosen", "rejected"):
        rows = present(log.held_out, name, f"{name}_logps")
        moved.append([np.diff(log.held_out[k][rows]) for k in (f"{name}_logps", name)])
    nats, rewards = (np.concatenate(parts) for parts in zip(*moved, strict=True))
    if not nats @ nats > 1e-6:
        return None
    slope = float(nats @ rewards / (nats @ nats))
    rest = rewards - slope * nats
    return slope if slope > 0 and rest @ rest <= 1e-4 * (rewards @ rewards) else None


def beta(log: RunLog, setting: Setting) -> Finding:
    """Rewards are beta times log-ratios: the factor is read off two evaluations.

    >>> held = [{"chosen_logps": -20, "chosen": 0}, {"chosen_logps": -30, "chosen": -1}]
    >>> beta(runlogs.log_of([], held), Setting(beta=0.5)).fault
    'beta'
    """
    value = measured_beta(log)
    if value is None:
        return Finding("beta", "N/A", "needs two evaluations with rewards and logps")
    if setting.beta is None:
        return Finding("beta", "PASS", f"{value:.4g}", "not stated")
    verdict = ("PASS", "") if abs(value / setting.beta - 1) <= 0.02 else ("FAIL", "beta")
    return Finding("beta", verdict[0], f"{value:.4g}", f"{setting.beta:g}", verdict[1])


def at_step_one(log: RunLog) -> tuple[float, float] | None:
    """The loss before the first step, and how far it was extrapolated; None if it cannot be.

    A row holds the mean over the steps since the row before: the first, of steps 1 to k, belongs to
    step (1 + k)/2 (claim H2), and the line through it and the next is followed back to step 1.

    >>> log = runlogs.log_of([{"step": 2, "loss": 0.69}, {"step": 4, "loss": 0.67}])
    >>> [round(x, 4) for x in at_step_one(log)]
    [0.695, 0.005]
    """
    rows = present(log.train, "step", "loss")
    step, loss = log.train["step"][rows], log.train["loss"][rows]
    if not len(step) or step[0] < 1 or (step[0] > 1 and len(step) < 2):
        return None
    if step[0] == 1:
        return float(loss[0]), 0.0
    middle = (1 + step[0]) / 2, (step[0] + 1 + step[1]) / 2
    moved = float((loss[1] - loss[0]) / (middle[1] - middle[0]) * (middle[0] - 1))
    return float(loss[0]) - moved, abs(moved)


def first_loss(log: RunLog, setting: Setting) -> Finding:
    """Before the first step policy and reference are one, and the loss is its constant (H1).

    >>> log = runlogs.log_of([{"step": 1, "loss": 1.0}])
    >>> first_loss(log, Setting()).found
    '1.0000; 1 is what hinge begins with'
    """
    start, zero = at_step_one(log), setting.zero
    if start is None or math.isnan(zero):
        return Finding("first loss", "N/A", "needs training losses with steps, and beta for IPO")
    value, moved = start
    away = abs(value - zero) / zero
    found = f"{value:.4f}" + (f", followed back by {moved:.4f} to step 1" if moved else "")
    # A mean over steps is followed back along a line, which noise and curvature leave inexact.
    near, far = (SAME, 0.02) if not moved else (max(0.03, moved / zero), 0.1)
    if away <= near:
        return Finding("first loss", "PASS", found, f"{zero:.4f}")
    found += f"; {whose_constant(value, setting.beta or 1.0)}"
    verdict = "FAIL" if away > max(far, 2 * near) else "WARN"
    return Finding("first loss", verdict, found, f"{zero:.4f}", "reference")


def first_accuracy(log: RunLog, _: Setting) -> Finding:
    """Before the first step nobody wins a strict comparison: accuracy is 0, not one half (H1).

    >>> log = runlogs.log_of([{"step": 1, "accuracy": 0.5, "margin": 1e-3}])
    >>> first_accuracy(log, Setting()).fault
    'reference'
    """
    train = log.train
    if not len(train["step"]) or train["step"][0] != 1 or math.isnan(train["accuracy"][0]):
        return Finding("first accuracy", "N/A", "needs a row of step 1 alone (logging_steps=1)")
    value, margin = float(train["accuracy"][0]), float(train["margin"][0])
    if value == 0 and not abs(margin) > 1e-6:
        return Finding("first accuracy", "PASS", "0", "0")
    found = f"{value:.2f}, at a mean margin of {margin:.2g}"
    return Finding("first accuracy", "WARN", found, "0", "reference")


def arithmetic(log: RunLog, setting: Setting) -> Finding:
    """margin = chosen - rejected, and for DPO mean loss >= softplus(-mean margin), by Jensen.

    >>> log = runlogs.log_of([{"loss": 0.6, "margin": 0}])
    >>> arithmetic(log, Setting()).fault
    'arithmetic'
    """
    off, short = 0.0, 0.0
    for table in log:
        rows = present(table, "chosen", "rejected", "margin")
        size = 1e-6 + np.abs(table["chosen"]) + np.abs(table["rejected"])
        gap = np.abs(table["margin"] - table["chosen"] + table["rejected"]) / size
        off = max([off, *gap[rows]])
        rows = present(table, "loss", "margin")
        short = max([short, *(softplus(-table["margin"]) - table["loss"])[rows]])
    short = short if setting.loss == "sigmoid" else 0.0
    found = f"margins off by {off:.1%}, losses short by {short:.2g}"
    verdict = ("FAIL", "arithmetic") if off > 1e-2 or short > 2e-3 else ("PASS", "")
    return Finding("arithmetic", verdict[0], found, "0", verdict[1])


def held_out_loss(log: RunLog, setting: Setting) -> Finding:
    """On held-out pairs a policy should do better than its reference, whose loss is the constant.

    ...and should not do worse at the end than on the way, while the training loss falls (H5).

    >>> log = runlogs.log_of([{"loss": 0.1}], [{"loss": 0.9}])
    >>> held_out_loss(log, Setting()).fault
    'rate'
    """
    check, table, zero = "held-out loss", log.held_out, setting.zero
    rows = present(table, "loss")
    if not rows.any() or math.isnan(zero):
        return Finding(check, "N/A", "needs held-out losses, and beta for IPO")
    loss, step = table["loss"][rows], table["step"][rows]
    low, end = int(loss.argmin()), float(loss[-1])
    found, expected = f"{end:.4f} at the end", f"below {zero:.4f}"
    if low < len(loss) - 1:
        found += f", {loss[low]:.4f} at step {step[low]:g}"
    accuracy, margin = (float(table[name][rows][-1]) for name in ("accuracy", "margin"))
    if end > 1.02 * zero and accuracy < 0.45 and margin < 0 < late(log.train, "margin"):
        found += f", accuracy {accuracy:.2f}"
        return Finding(check, "FAIL", found, expected, "swapped")
    if end > 1.02 * zero:
        return Finding(check, "FAIL", found, expected, "rate")
    if end > loss[low] + 0.02 * zero and late(log.train, "loss") < end - 0.1 * zero:
        return Finding(check, "WARN", found, expected, "memory")
    return Finding(check, "PASS", found, expected)


def training_accuracy(log: RunLog, setting: Setting) -> Finding:
    """Votes that err cannot all be predicted: accuracy near 1 on them is memory (H4).

    >>> log = runlogs.log_of([{"accuracy": 1}])
    >>> training_accuracy(log, Setting(labels="votes")).fault
    'memory'
    """
    check, accuracy = "training accuracy", late(log.train, "accuracy")
    selected = (setting.pairs_from or "").startswith("bestworst")
    if setting.labels != "votes" or selected or math.isnan(accuracy):
        return Finding(check, "N/A", "needs labels by votes, on pairs that were not selected")
    held = late(log.held_out, "accuracy")
    found = f"{accuracy:.2f} at the end" + ("" if math.isnan(held) else f", held out {held:.2f}")
    verdict = ("WARN", "memory") if accuracy > 0.97 or accuracy > held + 0.15 else ("PASS", "")
    return Finding(check, verdict[0], found, "near the held-out accuracy", verdict[1])


def kl_meter(log: RunLog, setting: Setting) -> Finding:
    """Held-out rewards of draws from the reference sum to -2 beta KL(pi_ref || pi) (H3).

    >>> log = runlogs.log_of([{"loss": 0.6}], [{"chosen": -0.4, "rejected": -0.8}])
    >>> kl_meter(log, Setting(beta=0.1, pairs_from="ref")).found
    'KL(ref || policy) = 6 nats at the end'
    """
    value, table = measured_beta(log) or setting.beta, log.held_out
    rows = present(table, "chosen", "rejected", "margin")
    if setting.pairs_from != "ref" or value is None or not rows.any():
        return Finding("KL meter", "N/A", "needs held-out draws from the reference, and beta")
    nats = float(-(table["chosen"] + table["rejected"])[rows][-1] / (2 * value))
    noise = 0.1 * abs(float(table["margin"][rows][-1])) / (2 * value)
    verdict = ("WARN", "pairs") if nats < -noise else ("PASS", "")
    found = f"KL(ref || policy) = {nats:.3g} nats at the end"
    return Finding("KL meter", verdict[0], found, ">= 0", verdict[1])


def clipped(log: RunLog, setting: Setting) -> Finding:
    """How often the gradient was clipped.

    >>> log = runlogs.log_of([{"grad_norm": 9}])
    >>> clipped(log, Setting()).fault
    'clipping'
    """
    norm = log.train["grad_norm"]
    if not np.isfinite(norm).any():
        return Finding("clipping", "N/A", "no grad_norm")
    share = float((norm[np.isfinite(norm)] > setting.clip).mean())
    found = f"{share:.0%} of rows above {setting.clip:g}"
    verdict = ("WARN", "clipping") if share > 0.9 else ("PASS", "")
    return Finding("clipping", verdict[0], found, "some", verdict[1])


def fall(epoch: Floats, loss: Floats, middle: float) -> tuple[float, float] | None:
    """How far the loss falls from the quarter epoch before a point to the one after it, and the
    standard error of that; None with fewer than three rows on a side. Arrays ``(rows,)``.

    >>> fall(np.arange(1, 9) / 4, np.array([3.0, 3, 3, 3, 2, 2, 2, 2]), 1.0) is None
    True
    """
    sides = [loss[(epoch > a) & (epoch <= a + 0.25)] for a in (middle - 0.25, middle)]
    if min(map(len, sides)) < 3:
        return None
    noise = sum(side.var(ddof=1) / len(side) for side in sides)
    return float(sides[0].mean() - sides[1].mean()), float(noise)


def epoch_steps(log: RunLog, _: Setting) -> Finding:
    """A training loss that falls at the borders of epochs more than between them: memory (H5).

    >>> rows = [{"epoch": k / 20, "loss": 0.6 - 0.1 * ((k - 1) // 20)} for k in range(1, 61)]
    >>> epoch_steps(runlogs.log_of(rows), Setting()).fault
    'memory'
    """
    check, rows = "epoch borders", present(log.train, "epoch", "loss")
    epoch, loss = log.train["epoch"][rows], log.train["loss"][rows]
    borders = np.arange(1, math.ceil(epoch.max()) if len(epoch) else 1)
    pairs = [(fall(epoch, loss, b), fall(epoch, loss, b - 0.5)) for b in borders]
    known = [(at[0] - between[0], at[1] + between[1]) for at, between in pairs if at and between]
    if not known:
        return Finding(check, "N/A", "needs two epochs with three rows in each quarter")
    excess, noise = np.mean([x for x, _ in known]), np.sqrt(sum(v for _, v in known)) / len(known)
    found = f"the loss falls by {excess:.2g} ± {noise:.1g} more than between them"
    steps = excess > 3 * noise and excess > 0.02 * np.abs(loss).max()
    verdict = ("WARN", "memory") if steps else ("PASS", "")
    return Finding(check, verdict[0], found, "no more", verdict[1])


def saturation(log: RunLog, setting: Setting) -> Finding:
    """How much of a pair's gradient is left: sigma(-s) of the mean training margin.

    >>> saturation(runlogs.log_of([{"margin": 9.0}]), Setting()).fault
    'saturation'
    """
    margin = late(log.train, "margin")
    if setting.loss not in ("sigmoid", "robust", "sigmoid_norm") or math.isnan(margin):
        return Finding("saturation", "N/A", "needs margins of a loss that fades with them")
    left = math.exp(-float(softplus(np.array(margin))))
    verdict = ("WARN", "saturation") if left < 0.01 else ("PASS", "")
    found = f"{left:.2g} of a gradient at the mean margin"
    return Finding("saturation", verdict[0], found, "above 0.01", verdict[1])
