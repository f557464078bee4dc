"""Checks that need only the log: a row for each time that the trainer logged."""

import math

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
    """Losses, rewards and gradients are finite numbers, where they are logged.

    A scaler of float16 skips steps of infinite gradients, so these alone are no failure.

    >>> log = runlogs.log_of([{"step": 1, "loss": math.inf}])
    >>> finite(log, Setting()).verdict
    'FAIL'
    """
    bad = [
        (name == "grad_norm", step, name)
        for rows in log
        for name in ("loss", "chosen", "rejected", "grad_norm")
        for step in np.nan_to_num(rows["step"][np.isinf(rows[name])])
    ]
    if not bad:
        return Finding("finite", "PASS", "all numbers", "all numbers")
    mild, step, name = min(bad)
    found = f"{name} is no number at step {step:g}"
    return Finding("finite", "WARN" if mild else "FAIL", found, "all numbers", "nan")


def alive(log: RunLog, _: Setting) -> Finding:
    """Rewards leave 0, and those of the same held-out pairs change: something is trained.

    >>> log = runlogs.log_of([{"step": k, "chosen": 0, "rejected": 0} for k in range(9)])
    >>> alive(log, Setting()).fault
    'dead'
    """
    train, held_out = log.train, log.held_out
    rows = present(train, "chosen", "rejected") & (train["step"] > 1) & (train["rate"] != 0)
    if rows.sum() < 5:
        return Finding("alive", "N/A", "fewer than five rows with rewards after the first step")
    found, moved = "rewards up to", np.abs([train["chosen"][rows], train["rejected"][rows]]).max()
    looks = present(held_out, "step", "chosen", "rejected")
    if looks.any() and np.ptp(held_out["step"][looks]) >= train["step"][rows].max() / 2:
        found = "held-out rewards move by"
        moved = max(np.ptp(held_out[name][looks]) for name in ("chosen", "rejected"))
    still = float((train["rate"] == 0).mean())
    if moved < 1e-6:
        return Finding("alive", "FAIL", f"{found} {moved:.2g}", "not 0", "dead")
    if still > 0.5:
        return Finding("alive", "WARN", f"a rate of 0 in {still:.0%} of rows", "few", "dead")
    return Finding("alive", "PASS", f"{found} {moved:.2g}", "not 0")


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
    return slope if slope and rest @ rest <= 1e-4 * (rewards @ rewards) else None


def beta(log: RunLog, setting: Setting) -> Finding:
    """Rewards are beta times log-ratios: the factor is read off two evaluations.

    >>> held = [{"chosen_logps": -20, "chosen": 0}, {"chosen_logps": -30, "chosen": -1}]
    >>> beta(runlogs.log_of([], held), Setting(beta=0.5)).fault
    'beta'
    """
    value = measured_beta(log)
    if value is None:
        return Finding("beta", "N/A", "needs two evaluations with rewards and logps")
    if value < 0:
        return Finding("beta", "FAIL", f"{value:.4g}", "above 0", "beta")
    if setting.beta is None:
        return Finding("beta", "N/A", f"{value:.4g} in the log, none stated to compare it with")
    verdict = ("PASS", "") if abs(value / setting.beta - 1) <= 0.02 else ("FAIL", "beta")
    return Finding("beta", verdict[0], f"{value:.4g}", f"{setting.beta:g}", verdict[1])


def before_training(log: RunLog) -> dict[str, float] | None:
    """What was logged of the policy that is still its reference: step 1, or an evaluation before.

    >>> log = runlogs.log_of([{"step": 1, "loss": 0.7}])
    >>> before_training(log)["loss"]
    0.7
    """
    for rows, step in ((log.train, 1), (log.held_out, 0)):
        if len(rows["step"]) and rows["step"][0] == step and math.isfinite(rows["loss"][0]):
            return {name: float(column[0]) for name, column in rows.items()}
    return None


def followed_back(log: RunLog) -> tuple[float, float] | None:
    """The loss of step 1 from means over steps, and how far it was extrapolated; None if unknown.

    A row holds the mean over the steps since the row before: the first, of steps 1 to k, belongs to
    step (1 + k)/2 (claim H2), and the line through it and the next is followed back to step 1. The
    log of a resumed run begins later than its rows are apart.

    >>> log = runlogs.log_of([{"step": 2, "loss": 0.69}, {"step": 4, "loss": 0.67}])
    >>> [round(x, 4) for x in followed_back(log)]
    [0.695, 0.005]
    """
    rows = present(log.train, "step", "loss")
    step, loss = log.train["step"][rows], log.train["loss"][rows]
    if len(step) < 2 or not 1 < step[0] <= step[1] - step[0]:
        return None
    middle = (1 + step[0]) / 2, (step[0] + 1 + step[1]) / 2
    moved = float((loss[1] - loss[0]) / (middle[1] - middle[0]) * (middle[0] - 1))
    return float(loss[0]) - moved, abs(moved)


def as_bfloat16(value: float) -> float:
    """The nearest number with eight binary digits, as a loss in bfloat16 has.

    >>> as_bfloat16(math.log(2))
    0.69140625
    """
    digits, power = math.frexp(value)
    return math.ldexp(round(digits * 256) / 256, power)


def first_loss(log: RunLog, setting: Setting) -> Finding:
    """Before the first step policy and reference are one, and the loss is its constant (H1).

    >>> log = runlogs.log_of([{"step": 1, "loss": 1.0}])
    >>> first_loss(log, Setting()).found
    '1.0000; 1 is what hinge begins with'
    """
    row, zero = before_training(log), setting.zero
    if math.isnan(zero):
        return Finding(
            "first loss", "N/A", "no constant is known: needs the loss, and beta for IPO"
        )
    if row is None:
        return first_mean(log, setting)
    value, found, expected = row["loss"], f"{row['loss']:.4f}", f"{zero:.4f}"
    away = abs(value - zero) / zero
    if away <= SAME or abs(value - as_bfloat16(zero)) <= 1e-4 * zero:
        return Finding("first loss", "PASS", found, expected)
    found += f"; {whose_constant(value, setting.beta or 1.0)}"
    equal = row["accuracy"] == 0 and abs(row["margin"]) <= 1e-6
    fault = "loss" if equal else "reference"
    return Finding("first loss", "FAIL" if away > 0.02 else "WARN", found, expected, fault)


def first_mean(log: RunLog, setting: Setting) -> Finding:
    """`first_loss` of a log whose first row is a mean over several steps.

    A loss that falls fast at first is followed back too low, so only a high one counts.

    >>> rows = [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 0.99}]
    >>> first_mean(runlogs.log_of(rows), Setting()).verdict
    'FAIL'
    """
    start, zero = followed_back(log), setting.zero
    if start is None:
        return Finding("first loss", "N/A", "needs a row of step 1, or rows from the first step on")
    found = f"{start[0]:.4f}, followed back by {start[1]:.4f} to step 1"
    away, near = start[0] / zero - 1, max(0.03, start[1] / zero)
    if abs(away) <= near:
        return Finding("first loss", "PASS", found, f"{zero:.4f}")
    if away < 0:
        return Finding("first loss", "N/A", f"{found}: too low to tell; use logging_first_step")
    verdict = "FAIL" if away > max(0.1, 2 * near) else "WARN"
    return Finding("first loss", verdict, found, f"{zero:.4f}", "reference")


def first_accuracy(log: RunLog, _: Setting) -> Finding:
    """Before the first step nobody wins a strict comparison: accuracy is 0, not one half (H1).

    >>> log = runlogs.log_of([{"step": 1, "loss": 0.7, "accuracy": 0.5, "margin": 1e-3}])
    >>> first_accuracy(log, Setting()).fault
    'reference'
    """
    row = before_training(log)
    if row is None or math.isnan(row["accuracy"]):
        return Finding("first accuracy", "N/A", "needs a row of step 1 alone, or of step 0")
    value, margin = row["accuracy"], row["margin"]
    if value == 0 and not abs(margin) > 1e-6:
        return Finding("first accuracy", "PASS", "0", "0")
    found = f"{value:.2f}, at a mean margin of {margin:.2g}"
    return Finding("first accuracy", "WARN", found, "0", "reference")


def arithmetic(log: RunLog, setting: Setting) -> Finding:
    """margin = chosen - rejected, and for DPO mean loss >= softplus(-mean margin), by Jensen.

    The latter for training rows: an evaluation weighs loss and margins differently
    where its last batch is smaller. Smoothed labels add their share of the margin to the loss.

    >>> log = runlogs.log_of([{"loss": 0.6, "margin": 0}])
    >>> arithmetic(log, Setting()).fault
    'arithmetic'
    """
    off, short = [0.0], 0.0
    for part in log:
        rows = present(part, "chosen", "rejected", "margin")
        margin, *rewards = (part[name][rows] for name in ("margin", "chosen", "rejected"))
        off += list(np.abs(margin - rewards[0] + rewards[1]) / (1e-6 + np.abs(rewards).sum(axis=0)))
    rows = present(log.train, "loss", "margin")
    if setting.loss == "sigmoid" and rows.any():
        loss, margin = log.train["loss"][rows], log.train["margin"][rows]
        short = float((softplus(-margin) + setting.label_smoothing * margin - loss).max())
    found = f"margins off by {max(off):.1%}, losses short by {max(0.0, short):.2g}"
    if len(off) == 1 and not rows.any():
        return Finding("arithmetic", "N/A", "needs rewards")
    verdict = ("FAIL", "arithmetic") if max(off) > 1e-2 or short > 2e-3 else ("PASS", "")
    return Finding("arithmetic", verdict[0], found, "0", verdict[1])


def seen_twice(log: RunLog) -> bool:
    """Whether a pair may have come twice: not in the first epoch, where the log tells epochs.

    >>> seen_twice(runlogs.log_of([{"epoch": 0.9}]))
    False
    """
    epoch = log.train["epoch"][np.isfinite(log.train["epoch"])]
    return not len(epoch) or bool(epoch.max() > 1)


def held_out_loss(log: RunLog, setting: Setting) -> Finding:
    """On held-out pairs a policy should do better than its reference, whose loss is the constant.

    ...and should not do worse at the end than on the way, while the training loss falls (H5).

    >>> log = runlogs.log_of([{"loss": 0.1}], [{"loss": 0.9}])
    >>> held_out_loss(log, Setting()).fault
    'memory'
    """
    check, held, zero = "held-out loss", log.held_out, setting.zero
    rows = present(held, "loss")
    if not rows.any() or math.isnan(zero):
        return Finding(check, "N/A", "needs held-out losses, the loss, and beta for IPO")
    loss, step = held["loss"][rows], held["step"][rows]
    low, end, trained = int(loss.argmin()), float(loss[-1]), late(log.train, "loss")
    found, expected = f"{end:.4f} at the end", f"below {zero:.4f}"
    if low < len(loss) - 1:
        found += f", {loss[low]:.4f} at step {step[low]:g}"
    learnt = seen_twice(log) and trained < end - 0.1 * zero
    if end > 1.02 * zero:
        if lost(log):
            fault, found = "swapped", f"{found}, accuracy {held['accuracy'][rows][-1]:.2f}"
        else:
            fault = "memory" if learnt and trained < 0.9 * zero else "rate"
        return Finding(check, "FAIL", found, expected, fault)
    if end > loss[low] + 0.02 * zero and learnt:
        return Finding(check, "WARN", found, expected, "memory")
    return Finding(check, "PASS", found, expected)


def lost(log: RunLog) -> bool:
    """Whether held-out pairs lose at every evaluation by a part of what training pairs win by.

    >>> lost(runlogs.log_of([{"margin": 1}], [{"margin": -1, "accuracy": 0.3}]))
    True
    """
    rows = present(log.held_out, "accuracy", "margin") & (log.held_out["step"] != 0)
    accuracy, margin = (log.held_out[name][rows] for name in ("accuracy", "margin"))
    won = late(log.train, "margin")
    return bool(rows.any() and accuracy.max() < 0.45 and margin.max() < 0 < won
                and margin[-1] < -0.2 * won)  # fmt: skip


def training_accuracy(log: RunLog, setting: Setting) -> Finding:
    """Votes that err cannot all be predicted: accuracy near 1 on them is memory (H4).

    >>> log = runlogs.log_of([{"accuracy": 1}] * 5)
    >>> training_accuracy(log, Setting(labels="votes")).fault
    'memory'
    """
    check, values = "training accuracy", log.train["accuracy"][np.isfinite(log.train["accuracy"])]
    selected = (setting.pairs_from or "").startswith("bestworst")
    if setting.labels != "votes" or selected or not len(values):
        return Finding(check, "N/A", "needs labels by votes, on pairs that were not selected")
    values = values[-max(5, len(values) // 5) :]
    accuracy, held = float(values.mean()), late(log.held_out, "accuracy")
    noise = 2 * float(values.std()) / math.sqrt(len(values))
    found = f"{accuracy:.2f} at the end" + ("" if math.isnan(held) else f", held out {held:.2f}")
    high = accuracy > 0.97 or accuracy - noise > held + 0.15
    verdict = ("WARN", "memory") if high and len(values) >= 5 and seen_twice(log) else ("PASS", "")
    return Finding(check, verdict[0], found, "near the held-out accuracy", verdict[1])


def kl_meter(log: RunLog, setting: Setting) -> Finding:
    """Held-out rewards of draws from the reference sum to -2 beta KL(pi_ref || pi) (H3).

    >>> log = runlogs.log_of([{"loss": 0.6}], [{"chosen": -0.4, "rejected": -0.8}])
    >>> kl_meter(log, Setting(beta=0.1, pairs_from="ref")).found
    'KL(ref || policy) = 6 nats at the end'
    """
    value, held = setting.beta, log.held_out
    rows = present(held, "chosen", "rejected", "margin")
    if setting.pairs_from != "ref" or value is None or not rows.any():
        return Finding("KL meter", "N/A", "needs held-out draws from the reference, and beta")
    nats = float(-(held["chosen"] + held["rejected"])[rows][-1] / (2 * value))
    noise = 0.1 + 0.1 * abs(float(held["margin"][rows][-1])) / (2 * value)
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
    return Finding("clipping", verdict[0], found, "below 90%", verdict[1])


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
