"""What a trainer's log should say, and what is off where it does not.

A check is a pure function of what was logged (`runlogs`) and of what is known of the run
(`Setting`), and gives one `Finding`; where its premise is unknown it gives no verdict. Rewards are
the logged ones, beta times a log-ratio h; h and divergences are in nats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dpo_edu import _checks
from dpo_edu._checks import Floats

LOG_2 = math.log(2)
# The loss of a policy that is its reference, by the name that TRL has for it: h = 0 in its formula.
FIRST_LOSS: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda beta: LOG_2,
    "sigmoid_norm": lambda beta: LOG_2,
    "robust": lambda beta: LOG_2,
    "aot": lambda beta: LOG_2,
    "aot_unpaired": lambda beta: LOG_2,
    "discopop": lambda beta: (LOG_2 + 1) / 2,
    "hinge": lambda beta: 1.0,
    "apo_zero": lambda beta: 1.0,
    "apo_down": lambda beta: 1.0,
    "ipo": lambda beta: 1 / (4 * beta**2),
    "sppo_hard": lambda beta: 1 / (2 * beta**2),
    "nca_pair": lambda beta: 2 * LOG_2,
    "bco_pair": lambda beta: 2 * LOG_2,
    "other": lambda beta: math.nan,  # a sum with another term, say: no constant is known
}
SAME = 1e-3  # relative distance at which a first loss is its constant

# What is off, by name: the cause, what to do, and the notebook and cell that show why.
ADVICE: dict[str, tuple[str, str, str]] = {
    "nan": (
        "The numbers left the range of floats: too large a rate, or half precision.",
        "Lower the learning rate, clip gradients, train in bfloat16 or float32.",
        "read_the_training_log#page-why",
    ),
    "dead": (
        "Nothing that the loss sees is trained: a dead adapter, a frozen model, a rate near 0.",
        "Count the weights with a gradient; look for them in the optimiser. Weights in bfloat16 do "
        "not move by small steps.",
        "read_the_training_log#page-why",
    ),
    "beta": (
        "The run's beta is not the one that was stated.",
        "Look which configuration the trainer read.",
        "read_the_training_log#logged-why",
    ),
    "sign": (
        "The loss rewards the rejected response.",
        "Look at the sign in the loss, and at the order of chosen and rejected.",
        "avoid_slips_in_practice",
    ),
    "dropout": (
        "The reference gives one pair different numbers: dropout is on, or it is trained as well.",
        "ref_model.eval(), and no gradient for its weights.",
        "avoid_slips_in_practice#reference-claim",
    ),
    "precision": (
        "Policy and reference agree but for rounding: another precision, kernel or padding.",
        "Give both the same dtype, attention kernel and batches.",
        "avoid_slips_in_practice#reference-claim",
    ),
    "reference": (
        "Policy and reference differ before the first step, or the loss is another one.",
        "Load the reference from the checkpoint that the policy starts from; look at loss_type.",
        "avoid_slips_in_practice#reference-claim",
    ),
    "arithmetic": (
        "The logged numbers contradict one another.",
        "Log loss, rewards and margins of the same batch, and of the loss that is minimised.",
        "read_the_training_log#logged-why",
    ),
    "mean": (
        "The trainer takes token means where the formula has sums, or the other way round.",
        "Look at loss_type and at what divides by the number of tokens.",
        "mind_the_tokens",
    ),
    "beta-twice": (
        "Beta stands twice in the loss.",
        "Rewards hold beta already: -log sigma of their difference, without another factor.",
        "avoid_slips_in_practice",
    ),
    "loss": (
        "Another formula than the stated one gives the logged loss.",
        "State it: loss, label smoothing, or other where a term is added; else compare it with "
        "dpo_edu.testing.assert_losses_agree.",
        "derive_the_dpo_loss",
    ),
    "rate": (
        "The steps are too large: each moves the policy far, or the run ends worse than it began.",
        "Lower the learning rate, or warm it up.",
        "read_the_training_log#memory-why",
    ),
    "swapped": (
        "Held-out pairs lose what training pairs win.",
        "Chosen and rejected are swapped in one of the two splits.",
        "avoid_slips_in_practice",
    ),
    "memory": (
        "The pairs are being learnt by heart.",
        "Stop at the least held-out loss; fewer epochs, larger beta, or more pairs.",
        "read_the_training_log#memory-why",
    ),
    "saturation": (
        "Pairs are won by so much that hardly any gradient is left.",
        "Labels by a rule: stop. Votes: larger beta, label smoothing, or fewer epochs.",
        "see_it_fail",
    ),
    "pairs": (
        "A divergence cannot be negative: the pairs are no draws from the reference.",
        "Find out who wrote the responses.",
        "read_the_training_log#meter-why",
    ),
    "clipping": (
        "Nearly every step is clipped, so its length is set by the rate alone.",
        "Compare runs by the nats they moved, not by their rates.",
        "read_the_training_log#page-why",
    ),
    "end-token": (
        "No response ends with the end token: where to stop is not learnt.",
        "Let the tokenizer append it, and count it.",
        "check_the_plumbing#end-claim",
    ),
    "truncated": (
        "Responses are cut before their end token.",
        "Raise max_length, or leave out pairs that do not fit.",
        "check_the_plumbing#cut-claim",
    ),
    "duplicates": (
        "Held-out pairs were trained on, so their loss measures memory.",
        "Split by prompt.",
        "read_the_training_log#memory-why",
    ),
    "identical": (
        "A pair of two equal texts has no gradient.",
        "Leave such pairs out.",
        "check_the_plumbing#cut-claim",
    ),
    "displacement": (
        "Probability leaves both responses for others that nobody has seen.",
        "Larger beta, a term of supervised fine-tuning, or pairs that differ more.",
        "see_it_fail",
    ),
    "length": (
        "The margin is mostly a matter of length.",
        "Look at labels and lengths; compare responses of equal length.",
        "mind_the_tokens",
    ),
}


@dataclass(frozen=True)
class Setting:
    """What is known of a run; None where it is not.

    Parameters
    ----------
    loss : the loss as TRL calls it.
    beta : KL coefficient, reward units per nat.
    labels : who labelled the pairs: "votes", "rm" (a reward model) or "rule".
    pairs_from : who wrote both responses: "ref", "bestworst:n" (of n draws) or "other".
    clip : norm at which gradients are clipped.
    label_smoothing : share of the labels that the loss takes for wrong, below one half.
    """

    loss: str = "sigmoid"
    beta: float | None = None
    labels: str | None = None
    pairs_from: str | None = None
    clip: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.loss not in FIRST_LOSS:
            raise _checks.error("loss", f"one of {', '.join(FIRST_LOSS)}", repr(self.loss))
        if self.beta is not None:
            _checks.beta(self.beta)
        _checks.positive("clip", self.clip)
        if not 0 <= self.label_smoothing < 0.5:
            raise _checks.error("label_smoothing", "0 to below 0.5", repr(self.label_smoothing))
        if self.labels not in (None, "votes", "rm", "rule"):
            raise _checks.error("labels", "votes, rm or rule", repr(self.labels))
        kind, _, number = (self.pairs_from or "other").partition(":")
        if kind not in ("ref", "other", "bestworst") or (kind == "bestworst") != number.isdigit():
            raise _checks.error("pairs_from", "ref, bestworst:n or other", repr(self.pairs_from))

    @property
    def zero(self) -> float:
        """The loss of a policy that is its reference; nan where that needs an unknown beta."""
        needs_beta = self.loss in ("ipo", "sppo_hard")
        return FIRST_LOSS[self.loss](self.beta or (math.nan if needs_beta else 1.0))


class Finding(NamedTuple):
    """What one check says: its name, PASS, WARN, FAIL or N/A, words with numbers, what is off.

    ``fault`` is a key of `ADVICE`, or empty where nothing is off.
    """

    check: str
    verdict: str
    found: str
    expected: str = ""
    fault: str = ""

    @property
    def advice(self) -> tuple[str, str, str]:
        """The cause, what to do, and the notebook and cell that show why; empty without a fault."""
        return ADVICE.get(self.fault, ("", "", ""))


def first_loss(name: str, beta: float) -> float:
    """The loss before the first step, where policy and reference are one (claim H1), nats.

    >>> [round(first_loss(name, 0.1), 4) for name in ("sigmoid", "hinge", "ipo", "nca_pair")]
    [0.6931, 1.0, 25.0, 1.3863]
    """
    return Setting(name, _checks.beta(beta)).zero


def whose_constant(value: float, beta: float) -> str:
    """Which loss begins with a value, in words.

    >>> whose_constant(2.7726, 0.1)
    '2.773 is 4 times log 2, as a sum over 4 batches would be'
    """
    near = [n for n, f in FIRST_LOSS.items() if abs(f(beta) - value) <= SAME * abs(value)]
    if near:
        return f"{value:.4g} is what {near[0]} begins with"
    times = round(value / LOG_2)
    if times > 1 and abs(value / LOG_2 - times) < SAME * times:
        return f"{value:.4g} is {times} times log 2, as a sum over {times} batches would be"
    return f"{value:.4g} is no loss's constant"


def softplus(x: Floats) -> Floats:
    """``log(1 + exp(x))``, which does not overflow.

    >>> softplus(np.array([-1000.0, 0.0])).round(4).tolist()
    [0.0, 0.6931]
    """
    return np.asarray(np.logaddexp(0, x), dtype=np.float64)
