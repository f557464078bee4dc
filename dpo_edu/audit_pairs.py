"""Checks that need a dump of pairs: the four sums of log-probabilities of each pair and step."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpo_edu import runlogs
from dpo_edu._checks import Floats
from dpo_edu.findings import Finding, Setting, softplus

Columns = runlogs.Columns
# The loss of one pair in terms of s = beta h, for those that a dump can be held against, and
# those whose log-probabilities TRL divides by the number of tokens.
OF_THE_MARGIN: dict[str, Callable[[Floats, float, float], Floats]] = {
    "sigmoid": lambda s, beta, smooth: softplus(-s) + smooth * s,
    "sigmoid_norm": lambda s, beta, smooth: softplus(-s),
    "hinge": lambda s, beta, smooth: np.maximum(0, 1 - s),
    "ipo": lambda s, beta, smooth: (s / beta - 1 / (2 * beta)) ** 2,
    "robust": lambda s, beta, smooth: softplus(-s) - smooth / (1 - 2 * smooth) * s,
}
FITS = 1e-3  # largest distance of a batch's loss from that of a formula, relative to 1 + the loss
OF_MEANS = ("ipo", "sigmoid_norm")
ROUNDING = 5e-3  # largest change of a sum, relative to it, that bfloat16 explains
# A dump of a run without a fault, for the examples below.
HEALTHY = Path(__file__).resolve().parent / "data" / "audit" / "healthy.pairs.jsonl.gz"


def log_ratios(pairs: Columns) -> Floats:
    """h of the chosen and of the rejected response, ``(2, rows)``, nats.

    >>> log_ratios(runlogs.read_pairs(HEALTHY)).shape
    (2, 336)
    """
    return np.stack(
        [pairs[f"{name}_logps"] - pairs[f"ref_{name}_logps"] for name in ("chosen", "rejected")]
    )


def lengths(pairs: Columns) -> Floats:
    """Tokens of the chosen and of the rejected response, ``(2, rows)``.

    >>> lengths(runlogs.read_pairs(HEALTHY))[:, 0].tolist()
    [12.0, 13.0]
    """
    return np.stack([pairs["chosen_tokens"], pairs["rejected_tokens"]])


def size(values: Floats) -> float:
    """Root mean square.

    >>> size(np.array([3.0, -3.0]))
    3.0
    """
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def trained(pairs: Columns) -> NDArray[np.bool_]:
    """Which rows are of the training pairs.

    >>> int(trained(runlogs.read_pairs(HEALTHY)).sum())
    144
    """
    return np.asarray(pairs["held_out"] == 0)


def last_look(pairs: Columns) -> NDArray[np.bool_]:
    """Which rows are of the last evaluation, or of the last step if there was none.

    >>> int(last_look(runlogs.read_pairs(HEALTHY)).sum())
    64
    """
    rows, step = trained(pairs), np.nan_to_num(pairs["step"])
    rows = rows if rows.all() else ~rows
    return np.asarray(rows & (step == step[rows].max()))


def sums(pairs: Columns, _: Setting) -> Finding:
    """The sums of log-probabilities are numbers; the other checks leave out the rest.

    >>> sums(runlogs.read_pairs(HEALTHY), Setting()).verdict
    'PASS'
    """
    bad = 1 - float(whole(pairs).mean())
    verdict = ("FAIL", "nan") if bad else ("PASS", "")
    return Finding("sums", verdict[0], f"no numbers in {bad:.1%} of rows", "0", verdict[1])


def whole(pairs: Columns) -> NDArray[np.bool_]:
    """Which rows have four sums of log-probabilities that are numbers.

    >>> bool(whole(runlogs.read_pairs(HEALTHY)).all())
    True
    """
    return np.asarray(np.isfinite([pairs[name] for name in runlogs.SUMS]).all(axis=0))


def reference_constant(pairs: Columns, _: Setting) -> Finding:
    """The reference gives one pair the same log-probabilities whenever it comes.

    >>> reference_constant(runlogs.read_pairs(HEALTHY), Setting()).found
    'moves by 0 nats'
    """
    check, order = "reference constant", np.argsort(pairs["id"], kind="stable")
    again = np.diff(pairs["id"][order]) == 0
    if not again.any():
        return Finding(check, "N/A", "no pair was dumped twice")
    sums = np.stack([pairs["ref_chosen_logps"], pairs["ref_rejected_logps"]])[:, order]
    moved = size(np.diff(sums)[:, again]) / math.sqrt(2)
    found, typical = f"moves by {moved:.2g} nats", size(sums)
    if moved <= 1e-4 * (1 + typical):
        return Finding(check, "PASS", found, "0")
    verdict = ("WARN", "precision") if moved <= ROUNDING * typical else ("FAIL", "dropout")
    return Finding(check, verdict[0], found, "0", verdict[1])


def first_log_ratios(pairs: Columns, _: Setting) -> Finding:
    """Before the first step every log-ratio is 0 (H1).

    >>> first_log_ratios(runlogs.read_pairs(HEALTHY), Setting()).found
    '0 nats, of sums of ...'
    """
    check, start = "first log-ratios", trained(pairs) & (pairs["step"] == 0)
    if not start.any():
        return Finding(check, "N/A", "no pair of step 0 was dumped")
    away, typical = size(log_ratios(pairs)[:, start]), size(pairs["ref_chosen_logps"][start])
    found = f"{away:.2g} nats, of sums of {typical:.3g}"
    if away <= 1e-4 * (1 + typical):
        return Finding(check, "PASS", found, "0")
    return Finding(
        check, "FAIL", found, "0", "precision" if away <= ROUNDING * typical else "reference"
    )


def first_move(pairs: Columns, _: Setting) -> Finding:
    """The first optimiser step moves a token's log-probability by a small part of a nat.

    >>> first_move(runlogs.read_pairs(HEALTHY), Setting()).found
    '0.11 nats a token'
    """
    check, rows = "first move", [trained(pairs) & (pairs["step"] == k) for k in (0, 1)]
    if not all(k.any() for k in rows) or not np.isfinite(lengths(pairs)).all():
        return Finding(check, "N/A", "needs the first two steps, and numbers of tokens")
    per_token = log_ratios(pairs) / np.maximum(lengths(pairs), 1)
    start, moved = (size(per_token[:, k]) for k in rows)
    found = f"{moved:.2g} nats a token"
    verdict = ("FAIL", "rate") if moved > 0.3 and moved > 2 * start else ("PASS", "")
    return Finding(check, verdict[0], found, "below 0.3", verdict[1])


def variants(pairs: Columns, beta: float) -> dict[str, tuple[Floats, float]]:
    """What a trainer may take for s, right and by the usual slips: s and its beta, by name.

    >>> len(variants(runlogs.read_pairs(HEALTHY), 0.1))
    12
    """
    up, down = log_ratios(pairs)
    h = {"sum": up - down, "pair swapped": down - up}
    if np.isfinite(lengths(pairs)).all():
        h["token mean"] = -np.diff(log_ratios(pairs) / np.maximum(lengths(pairs), 1), axis=0)[0]
    h["sum without the reference"] = pairs["chosen_logps"] - pairs["rejected_logps"]
    factors = {"": beta, ", beta twice": beta**2, ", no beta": 1.0}
    return {n + t: (factor * x, factor) for n, x in h.items() for t, factor in factors.items()}


def recomputed_loss(pairs: Columns, setting: Setting) -> Finding:
    """The batch's loss, once more from the sums of log-probabilities, and the formula that fits.

    >>> recomputed_loss(runlogs.read_pairs(HEALTHY), Setting(beta=0.01)).fault
    'loss'
    """
    check = "loss recomputed"
    if setting.loss not in OF_THE_MARGIN or setting.beta is None:
        return Finding(check, "N/A", f"needs beta and one of {', '.join(OF_THE_MARGIN)}")
    if not np.isfinite(pairs["loss"]).all():
        return Finding(check, "N/A", "no loss was dumped")
    gaps = distances(pairs, setting)
    right = "token mean" if setting.loss in OF_MEANS else "sum"
    best = min(gaps, key=lambda name: gaps[name])
    found = f"{setting.loss} of the {best} fits to {gaps[best]:.1g}"
    if right not in gaps:
        return Finding(check, "N/A", "no numbers of tokens were dumped")
    if gaps[right] <= FITS:
        near = min(FITS, 10 * max(1e-6, gaps[right]))
        rivals = [name for name, gap in gaps.items() if gap <= near and name != right]
        if rivals or np.abs(variants(pairs, setting.beta)[right][0]).max() <= FITS:
            why = f"so does the {rivals[0]}" if rivals else "hardly a pair has moved"
            return Finding(check, "N/A", f"the {right} fits, but {why}")
        found = f"{setting.loss} of the {right} fits to {gaps[right]:.1g}"
        return Finding(check, "PASS", found, right)
    if gaps[best] > FITS:
        return Finding(check, "WARN", f"no formula tried fits, {found}", right, "loss")
    faults = {"sum, beta twice": "beta-twice", "pair swapped": "sign"}
    kind = "mean" if best in ("sum", "token mean") else faults.get(best, "loss")
    return Finding(check, "FAIL", found, right, kind)


def distances(pairs: Columns, setting: Setting) -> dict[str, float]:
    """How far each of `variants` is from the logged loss in its worst batch; twins appear once.

    >>> round(distances(runlogs.read_pairs(HEALTHY), Setting(beta=0.1))["sum"], 5)
    0.0
    """
    _, batch = np.unique(pairs["batch"], return_inverse=True)
    count, formula, gaps = np.bincount(batch), OF_THE_MARGIN[setting.loss], dict[str, float]()
    logged, seen = np.bincount(batch, pairs["loss"]) / count, list[Floats]()
    for name, (s, factor) in variants(pairs, setting.beta or 1.0).items():
        loss = formula(s, factor, setting.label_smoothing)
        mine = np.bincount(batch, loss) / count
        if not any(np.allclose(s, other, rtol=0.01) for other in seen):
            seen.append(s)
            gaps[name] = float(np.max(np.abs(mine - logged) / (1 + np.abs(logged))))
    return gaps


def end_tokens(pairs: Columns, _: Setting) -> Finding:
    """Responses end with the end token, the chosen as often as the rejected.

    >>> end_tokens(runlogs.read_pairs(HEALTHY), Setting()).found
    'chosen 100%, rejected 100%'
    """
    check, ended = "end tokens", np.stack([pairs["chosen_ended"], pairs["rejected_ended"]])
    if not np.isfinite(ended).all():
        return Finding(check, "N/A", "no flags of end tokens were dumped")
    chosen, rejected = ended.mean(axis=1)
    found, noise = f"chosen {chosen:.0%}, rejected {rejected:.0%}", math.sqrt(2 / ended.shape[1])
    if max(chosen, rejected) < 0.01:
        return Finding(check, "FAIL", found, "nearly all", "end-token")
    if abs(chosen - rejected) > 0.1 + noise:
        return Finding(check, "FAIL", found, "equally often", "truncated")
    verdict = ("WARN", "truncated") if min(chosen, rejected) < 0.9 else ("PASS", "")
    return Finding(check, verdict[0], found, "nearly all", verdict[1])


def held_out_pairs(pairs: Columns, _: Setting) -> Finding:
    """Held-out pairs are not among the training pairs, nor are their prompts.

    >>> held_out_pairs(runlogs.read_pairs(HEALTHY), Setting()).found
    '0% of pairs and 0% of prompts were trained on'
    """
    check, out = "held-out pairs", ~trained(pairs)
    if out.all() or not out.any() or not np.isfinite(pairs["id"]).all():
        return Finding(check, "N/A", "needs ids of both splits")
    known = ["id", "prompt"] if np.isfinite(pairs["prompt"]).all() else ["id"]
    shares = [np.isin(np.unique(pairs[k][out]), pairs[k][~out]).mean() for k in known]
    found = " and ".join(
        f"{s:.0%} of {n}s" for s, n in zip(shares, ("pair", "prompt"), strict=False)
    )
    verdict = "FAIL" if shares[0] > 0.01 else "WARN" if shares[-1] > 0.1 else "PASS"
    found += " were trained on"
    return Finding(check, verdict, found, "none", "" if verdict == "PASS" else "duplicates")


def identical(pairs: Columns, _: Setting) -> Finding:
    """Chosen and rejected are different texts.

    >>> identical(runlogs.read_pairs(HEALTHY), Setting()).found
    '0.0% of pairs'
    """
    if not np.isfinite(pairs["same"]).any():
        return Finding("identical texts", "N/A", "not dumped")
    share = float(np.nanmean(pairs["same"]))
    verdict = ("WARN", "identical") if share > 0 else ("PASS", "")
    return Finding("identical texts", verdict[0], f"{share:.1%} of pairs", "none", verdict[1])


def displacement(pairs: Columns, _: Setting) -> Finding:
    """How often both responses of a pair have become less likely, and what the chosen have lost.

    >>> displacement(runlogs.read_pairs(HEALTHY), Setting()).found
    'both fell in 86% of pairs, the chosen by 0.32 nats a token'
    """
    h, tokens = log_ratios(pairs)[:, last_look(pairs)], pairs["chosen_tokens"][last_look(pairs)]
    if not np.isfinite(tokens).all():
        return Finding("displacement", "N/A", "no numbers of tokens were dumped")
    both, lost = float((h < 0).all(axis=0).mean()), float(-(h[0] / np.maximum(tokens, 1)).mean())
    found = f"both fell in {both:.0%} of pairs, the chosen by {lost:.2g} nats a token"
    verdict = ("WARN", "displacement") if both > 0.5 and lost > 0.5 else ("PASS", "")
    return Finding("displacement", verdict[0], found, "little", verdict[1])


def length(pairs: Columns, _: Setting) -> Finding:
    """How far the margin is a matter of length.

    >>> length(runlogs.read_pairs(HEALTHY), Setting()).found
    'margin and difference in length correlate by -0.32'
    """
    rows = last_look(pairs)
    margin, longer = (
        -np.diff(log_ratios(pairs)[:, rows], axis=0)[0],
        -np.diff(lengths(pairs), axis=0)[0, rows],
    )
    if rows.sum() < 10 or not margin.std() > 0 or not longer.std() > 0:
        return Finding("length", "N/A", "needs ten pairs of different lengths")
    r = float(np.corrcoef(margin, longer)[0, 1])
    verdict = ("WARN", "length") if abs(r) > 0.8 else ("PASS", "")
    found = f"margin and difference in length correlate by {r:+.2f}"
    return Finding("length", verdict[0], found, "below 0.8", verdict[1])
