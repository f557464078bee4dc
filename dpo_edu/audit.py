"""``dpo-edu audit``: read a trainer's log and say what is off.

What a line means and where its proof stands: docs/audit.md. Exit status 0 where nothing failed, 1
where something did, 2 where a file cannot be read.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from dpo_edu import audit_log, audit_pairs, runlogs
from dpo_edu.findings import FIRST_LOSS, Finding, Setting
from dpo_edu.runlogs import Columns, RunLog

FIRST = (audit_log.finite, audit_log.alive, audit_log.beta)
OF_PAIRS = (
    audit_pairs.reference_constant, audit_pairs.first_log_ratios, audit_pairs.recomputed_loss,
    audit_pairs.first_move, audit_pairs.end_tokens, audit_pairs.held_out_pairs,
    audit_pairs.identical, audit_pairs.displacement, audit_pairs.length,
)  # fmt: skip
OF_LOG = (
    audit_log.first_accuracy, audit_log.arithmetic, audit_log.held_out_loss,
    audit_log.training_accuracy, audit_log.epoch_steps, audit_log.saturation, audit_log.kl_meter,
    audit_log.clipped,
)  # fmt: skip
RANK = ("FAIL", "WARN", "PASS", "N/A")
DEMO = Path(__file__).resolve().parent / "data" / "audit"


def audit(
    log: RunLog, pairs: Columns | None = None, setting: Setting | None = None
) -> list[Finding]:
    """Every check, in the order of cause and effect: an earlier failure may explain a later one.

    Parameters
    ----------
    log : what `runlogs.read_log` gives.
    pairs : what `runlogs.read_pairs` gives, or None.
    setting : what is known of the run. Where the log has another beta, that is a finding; then, and
        where none is stated, the other checks go by the log's.

    >>> run = runlogs.read_log(DEMO / "broken.log.jsonl")
    >>> [x.fault for x in audit(run, None, Setting(beta=0.1)) if x.verdict == "FAIL"]
    ['arithmetic']
    """
    setting = setting or Setting()
    findings = [check(log, setting) for check in FIRST]
    measured = audit_log.measured_beta(log) or 0.0
    if measured > 0 and (setting.beta is None or findings[-1].verdict == "FAIL"):
        setting = replace(setting, beta=measured)
    if pairs is not None:
        findings.append(audit_pairs.sums(pairs, setting))
        good = audit_pairs.whole(pairs)
        pairs = {name: column[good] for name, column in pairs.items()}
        findings += [check(pairs, setting) for check in OF_PAIRS if good.any()]
    start = audit_log.first_loss(log, setting)
    if start.fault == "loss":  # the stated one is not the run's
        setting = replace(setting, loss="other")
    return [*findings, start, *(check(log, setting) for check in OF_LOG)]


def told(finding: Finding) -> str:
    """A finding in lines: verdict, check, what was found and expected; why, what to do, where.

    >>> print(told(Finding("alive", "PASS", "rewards up to 0.3", "not 0")))
    PASS  alive              rewards up to 0.3 (expected not 0)
    """
    want = f" (expected {finding.expected})" if finding.expected else ""
    text = f"{finding.verdict:<4}  {finding.check:<18} {finding.found}{want}"
    if finding.fault:
        cause, remedy, see = finding.advice
        text += f"\n      {cause}\n      {remedy}\n      Why: notebook {see}"
    return text


def as_row(finding: Finding) -> dict[str, str]:
    """A finding as an object of the JSON output.

    >>> as_row(Finding("alive", "PASS", "rewards up to 0.3"))["verdict"]
    'PASS'
    """
    return finding._asdict() | dict(zip(("cause", "remedy", "see"), finding.advice, strict=True))


def parser() -> argparse.ArgumentParser:
    """What the command understands.

    >>> parser().parse_args(["audit", "--demo"]).demo
    True
    """
    top = argparse.ArgumentParser(prog="dpo-edu", description="DPO, derived and verified.")
    words = "read a trainer's log and say what is off"
    one = top.add_subparsers(dest="command", required=True).add_parser("audit", help=words)
    one.add_argument("log", type=Path, nargs="?", help="trainer_state.json, JSON lines or CSV")
    one.add_argument("--pairs", type=Path, help="what dpo_edu.testing.DumpPairs wrote")
    one.add_argument("--loss", default="sigmoid", choices=FIRST_LOSS, metavar="LOSS",
                     help=f"default sigmoid; {', '.join(FIRST_LOSS)}")  # fmt: skip
    one.add_argument("--beta", type=float, help="the beta that was meant")
    one.add_argument("--labels", help="who labelled the pairs: votes, rm or rule")
    one.add_argument("--pairs-from", metavar="WHO", help="who wrote them: ref, bestworst:n, other")
    one.add_argument("--clip", type=float, default=1.0, help="max_grad_norm (default 1)")
    one.add_argument("--label-smoothing", type=float, default=0.0, metavar="SHARE",
                     help="for the losses sigmoid and robust (default 0)")  # fmt: skip
    one.add_argument("--held-out", default="", metavar="NAME", help="which set, where several are")
    one.add_argument("--json", type=Path, metavar="FILE", help="write the findings there")
    one.add_argument("--figure", type=Path, metavar="FILE", help="draw the run there")
    one.add_argument("--demo", action="store_true", help="audit a healthy and a broken log")
    return top


def say(text: str) -> None:
    """Print; where nobody reads on, as after ``| head``, be silent.

    >>> say("0 FAIL")
    0 FAIL
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)


def report(given: argparse.Namespace) -> bool:
    """Audit one run, print and write what was found; whether nothing failed.

    >>> given = parser().parse_args(["audit", str(DEMO / "healthy.log.jsonl"), "--loss", "hinge"])
    >>> report(given)  # doctest: +ELLIPSIS
    /...healthy.log.jsonl: 1 FAIL, 0 WARN, ... PASS, ... N/A
    FAIL  first loss         0.6931; 0.6931 is what sigmoid begins with (expected 1.0000)
    ...
    False
    """
    setting = Setting(given.loss, given.beta, given.labels, given.pairs_from, given.clip,
                      given.label_smoothing)  # fmt: skip
    log = runlogs.read_log(given.log, given.held_out)
    pairs = runlogs.read_pairs(given.pairs) if given.pairs else None
    findings = audit(log, pairs, setting)
    counts = ", ".join(f"{sum(x.verdict == v for x in findings)} {v}" for v in RANK)
    findings_by_rank = sorted(findings, key=lambda finding: RANK.index(finding.verdict))
    say("\n".join([f"{given.log}: {counts}", *map(told, findings_by_rank)]))
    if given.json:
        text = json.dumps([as_row(finding) for finding in findings], indent=1)
        given.json.write_text(f"{text}\n", encoding="utf-8")
    if given.figure:
        from dpo_edu import plots  # matplotlib, which the checks do without

        plots.run(log.train, log.held_out, setting.zero).savefig(given.figure)
    return all(finding.verdict != "FAIL" for finding in findings)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status.

    >>> main(["audit", "none.jsonl"])
    2
    """
    top = parser()
    given = top.parse_args(arguments)
    if not given.log and not given.demo:
        top.error("expected a log, or --demo")
    try:
        if given.demo:
            given.beta, given.labels = given.beta or 0.1, given.labels or "votes"
            for name in ("healthy", "broken"):
                given.log, given.pairs = DEMO / f"{name}.log.jsonl", DEMO / f"{name}.pairs.jsonl.gz"
                report(given)
                say("")
            return 0
        return 0 if report(given) else 1
    except (ImportError, OSError, ValueError) as error:
        print(f"dpo-edu audit: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
