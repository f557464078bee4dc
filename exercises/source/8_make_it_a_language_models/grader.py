"""Assignment 8: which tokens count, what they add up to, and what is lost with one of them."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp, softmax

from dpo_edu.grading import Case, OneOf, case, function_task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Function = Callable[..., Any]
START = 0  # the token that stands before every response of a chain

# --- 1 which tokens count -----------------------------------------------------------------------


def _read_on(tokens: Ints, prompt: Ints, *, end: int) -> Bools:
    """Row by row: count from the prompt on, up to the end token."""
    counts = np.zeros(tokens.shape, dtype=bool)
    for row, first in enumerate(prompt):
        for place in range(first, tokens.shape[1]):
            counts[row, place] = True
            if tokens[row, place] == end:
                break
    return counts


def _after(tokens: Ints, prompt: Ints, late: int = 0) -> Bools:
    """What comes after the prompt."""
    return np.asarray(np.arange(tokens.shape[1]) >= prompt[:, None] + late)


def _until(ends: Bools) -> Bools:
    """What comes before the first end token, and this one."""
    return np.asarray(ends.cumsum(axis=1) - ends == 0)


def _found(tokens: Ints, prompt: Ints, *, end: int) -> Bools:
    """The end tokens after the prompt."""
    return np.asarray(_after(tokens, prompt) & (tokens == end))


def _shifted(late: int) -> Function:
    """Counts that begin some places too late, up to the right end."""

    def counts(tokens: Ints, prompt: Ints, *, end: int) -> Any:
        return _after(tokens, prompt, late) & _until(_found(tokens, prompt, end=end))

    return counts


def _late_altogether(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    return _read_on(tokens, prompt + 1, end=end)


def _to_the_first_of_all(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    first = (tokens == end).argmax(axis=1)
    return _after(tokens, prompt) & (np.arange(tokens.shape[1]) <= first[:, None])


def _of_one_prompt(choose: Callable[[Ints], int]) -> Function:
    """Counts that take one length of prompt for all rows."""
    return lambda tokens, prompt, *, end: _read_on(tokens, 0 * prompt + choose(prompt), end=end)


def _to_the_first_found(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    first = _found(tokens, prompt, end=end).argmax(axis=1)
    return _after(tokens, prompt) & (np.arange(tokens.shape[1]) <= first[:, None])


def _ended_only(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    found = _found(tokens, prompt, end=end)
    return _after(tokens, prompt) & _until(found) & found.any(axis=1, keepdims=True)


def _wants_a_word(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    found = _after(tokens, prompt, 1) & (tokens == end)
    return _after(tokens, prompt) & _until(found)


def _words_only(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    counts = _read_on(tokens, prompt, end=end)
    counts[counts.sum(axis=1) == 1] = False
    return counts


def _cut_short(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    counts = _read_on(tokens, prompt, end=end)
    counts[~_found(tokens, prompt, end=end).any(axis=1), -1] = False
    return counts


def _one_padding(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    counts = _read_on(tokens, prompt, end=end)
    return counts | np.pad(counts[:, :-1], ((0, 0), (1, 0)))


def _cut_without_any(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    is_cut = ~(tokens == end).any(axis=1, keepdims=True)
    return _to_the_first_found(tokens, prompt, end=end) | (_after(tokens, prompt) & is_cut)


def _all_but_one(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    written = tokens.shape[1] + 1 - (tokens == end).sum(axis=1)
    return _after(tokens, prompt) & (np.arange(tokens.shape[1]) < written[:, None])


def _to_the_run(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    run = (tokens == end)[:, ::-1].cumprod(axis=1).sum(axis=1)
    return _after(tokens, prompt) & (np.arange(tokens.shape[1]) <= tokens.shape[1] - run[:, None])


def _any_end(tokens: Ints, prompt: Ints, *, end: int) -> Any:
    return _after(tokens, prompt) & _until(tokens == end)


def _with_end(of: Callable[[Ints], int]) -> Function:
    """Counts with an end token that is guessed from the tokens."""
    return lambda tokens, prompt, *, end: _read_on(tokens, prompt, end=of(tokens))


def _written(rng: np.random.Generator, length: int, words: int, end: int) -> Case:
    """Rows of all kinds; whatever the draw, each kind is there.

    With padding; without, as the end token stands last; cut, without an end token; no word but the
    end token; an end token in the prompt; a prompt that leaves one place; one that leaves none; a
    prompt whose last token is the end token that stands alone after it; cut, with an end token in
    the prompt.
    """
    others = [word for word in range(words) if word != end]
    prompt = np.array([1, 2, 3, 2, 4, length - 1, length, 2, 3])
    ends = [3, length - 1, length, 2, 6, length - 1, length, 1, length]
    tokens = rng.choice(others, size=(9, length))
    for row, place in enumerate(ends):
        tokens[row, place:] = end
    tokens[4, [1, 3]] = tokens[6, 0] = tokens[8, 1] = end
    return case(tokens, prompt, end=end)


def _rows(rng: np.random.Generator) -> list[Case]:
    sizes = [(8, 4, 3), (9, 5, 0), (12, 6, 2)]
    mixed = [_written(rng, *size) for size in sizes]
    tokens = np.array([[5, 7, 9, 4, 4, 4], [5, 7, 8, 9, 6, 4]])
    return [case(tokens, np.array([2, 2]), end=4), *mixed]


counted = function_task(
    "counted",
    truth=_read_on,
    cases=_rows,
    mistakes={
        "the end token is lost: the model has to write it, too.": OneOf(
            [
                lambda tokens, prompt, *, end: _after(tokens, prompt) & (tokens != end),
                lambda tokens, prompt, *, end: (
                    _after(tokens, prompt) & (_found(tokens, prompt, end=end).cumsum(axis=1) == 0)
                ),
            ]
        ),
        "the padding counts: after its first end token a response is over.": OneOf(
            [
                _one_padding,
                lambda tokens, prompt, *, end: _after(tokens, prompt),
                lambda tokens, prompt, *, end: (
                    _after(tokens, prompt)
                    & (
                        (_found(tokens, prompt, end=end)[:, ::-1].cumsum(axis=1) > 0)[:, ::-1]
                        | ~_found(tokens, prompt, end=end).any(axis=1, keepdims=True)
                    )
                ),
            ]
        ),
        "the prompt counts: the model did not write it.": OneOf(
            [
                lambda tokens, prompt, *, end: _until(_found(tokens, prompt, end=end)),
                lambda tokens, prompt, *, end: _until(tokens == end),
            ]
        ),
        "prompt and padding count: only the response and its end token are to.": (
            lambda tokens, prompt, *, end: np.ones(tokens.shape, dtype=bool)
        ),
        "this marks words by what they are, not by where they stand: prompts have words, too.": (
            lambda tokens, prompt, *, end: tokens != end
        ),
        "an end token inside the prompt ends nothing: look for the first one after it.": OneOf(
            [_any_end, _to_the_first_of_all, _cut_without_any]
        ),
        "end tokens of the prompt are taken for padding: that comes after the response only.": (
            _all_but_one
        ),
        "a run of end tokens may begin in the prompt: look for the first one after it.": (
            _to_the_run
        ),
        "the first token of the response is lost: it stands at place `prompt`.": OneOf(
            [_shifted(1), _late_altogether]
        ),
        "the last token of the prompt counts: the response begins at place `prompt`.": OneOf(
            [_shifted(-1), lambda tokens, prompt, *, end: _read_on(tokens, prompt - 1, end=end)]
        ),
        "a row without an end token was cut: what there is of its response counts.": OneOf(
            [_to_the_first_found, _ended_only, _cut_short]
        ),
        "a response may be its end token alone: then that one counts, and no padding.": OneOf(
            [_wants_a_word, _words_only]
        ),
        "every mark stands one place early: these are the places whose scores are used.": (
            lambda tokens, prompt, *, end: np.pad(
                _read_on(tokens, prompt, end=end)[:, 1:], ((0, 0), (0, 1))
            )
        ),
        "each row has a prompt of its own length: this uses one for all.": OneOf(
            [
                _of_one_prompt(lambda prompt: int(prompt[0])),
                _of_one_prompt(lambda prompt: int(prompt[-1])),
                _of_one_prompt(lambda prompt: int(prompt.min())),
                _of_one_prompt(lambda prompt: int(prompt.max())),
            ]
        ),
        "`end` says which token ends a response: it need not be the last of the words.": OneOf(
            [_with_end(lambda tokens: int(tokens.max())), _with_end(lambda tokens: 0)]
        ),
        "this is the opposite: True is for tokens that count.": (
            lambda tokens, prompt, *, end: ~_read_on(tokens, prompt, end=end)
        ),
        "these are the tokens that count: True or False is asked for, place by place.": OneOf(
            [
                lambda tokens, prompt, *, end: tokens * _read_on(tokens, prompt, end=end),
                lambda tokens, prompt, *, end: np.where(
                    _read_on(tokens, prompt, end=end), tokens, -1
                ),
            ]
        ),
        "this says how many tokens count: which ones?": (
            lambda tokens, prompt, *, end: _read_on(tokens, prompt, end=end).sum(axis=1)
        ),
    },
)

# --- 2 their log-probabilities ------------------------------------------------------------------


def _one_by_one(logits: Floats, tokens: Ints, counts: Bools) -> Floats:
    """Token by token: its score after what was read before it, less the normaliser there."""
    found = np.zeros(tokens.shape)
    for row, place in np.argwhere(counts):
        scores = logits[row, place - 1]
        found[row, place] = scores[tokens[row, place]] - logsumexp(scores)
    return found


def _picked(scores: Floats, tokens: Ints) -> Floats:
    return np.asarray(np.take_along_axis(scores, tokens[..., None], axis=-1)[..., 0])


def _aligned(scores: Floats, tokens: Ints) -> Floats:
    """What each token was given at the place before it; 0 at the first place."""
    return np.pad(_picked(scores[:, :-1], tokens[:, 1:]), ((0, 0), (1, 0)))


def _scored(scores: Function, *, keep: Function | None = None) -> Function:
    """The log-probabilities with one thing changed: the scores, or what is kept of them."""

    def logps(logits: Floats, tokens: Ints, counts: Bools) -> Any:
        values = _aligned(scores(logits), tokens)
        return keep(values, counts) if keep else np.where(counts, values, 0)

    return logps


def _log_softmax(logits: Floats) -> Floats:
    return np.asarray(log_softmax(logits, axis=-1))


def _own_place(logits: Floats, tokens: Ints, counts: Bools) -> Any:
    return np.where(counts, _picked(_log_softmax(logits), tokens), 0)


def _place_after(logits: Floats, tokens: Ints, counts: Bools) -> Any:
    later = np.roll(_log_softmax(logits), -1, axis=1)
    return np.where(counts, _picked(later, tokens), 0)


def _place_after_to_the_last(logits: Floats, tokens: Ints, counts: Bools) -> Any:
    values = _place_after(logits, tokens, counts)
    values[:, -1] = 0
    return values


def _early(logits: Floats, tokens: Ints, counts: Bools) -> Any:
    return np.roll(_one_by_one(logits, tokens, counts), -1, axis=1)


def _without_first(logits: Floats, tokens: Ints, counts: Bools) -> Any:
    return _one_by_one(logits, tokens, counts)[:, 1:]


def _token_before(logits: Floats, tokens: Ints, counts: Bools) -> Any:
    before = np.pad(tokens[:, :-1], ((0, 0), (1, 0)))
    return np.where(counts, _aligned(_log_softmax(logits), before), 0)


def _likeliest(shift: int) -> Function:
    """The log-probability of the best word of each place."""
    return lambda logits, tokens, counts: np.where(
        counts, np.roll(_log_softmax(logits).max(axis=-1), shift, axis=1), 0
    )


def _by_quotient(logits: Floats) -> Any:
    return np.log(np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True))


def _by_difference(logits: Floats) -> Any:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _late_mask(values: Floats, counts: Bools) -> Any:
    return np.where(np.pad(counts[:, :-1], ((0, 0), (1, 0))), values, 0)


def _early_mask(values: Floats, counts: Bools) -> Any:
    return np.where(np.pad(counts[:, 1:], ((0, 0), (0, 1))), values, 0)


def _texts(rng: np.random.Generator, rows: int, length: int, words: int, scale: float) -> Case:
    """A row with padding, one with a long prompt and none, one without a response, and others."""
    prompt = rng.integers(1, 3, size=rows)
    end = rng.integers(prompt + 1, length + 1)
    end[0] = length - 2
    prompt[1], end[1] = length - 2, length
    end[-1] = prompt[-1]
    place = np.arange(length)
    counts = (place >= prompt[:, None]) & (place < end[:, None])
    tokens = rng.integers(1, words, size=(rows, length))
    logits = rng.normal(scale=scale, size=(rows, length, words))
    return case(logits, tokens, counts)


def _with_forbidden(text: Case) -> Case:
    """The padding is token 0, which the model never writes: its score is minus infinity."""
    logits, tokens, counts = text.arguments
    logits[..., 0] = -np.inf
    after = counts.cumsum(axis=1) == counts.sum(axis=1, keepdims=True)
    tokens[after & ~counts & (np.arange(tokens.shape[1]) > 1)] = 0
    return case(logits, tokens, counts)


def _written_all_the_same(text: Case) -> Case:
    """A token that counts is the one that the model never writes."""
    logits, tokens, counts = text.arguments
    logits[1, -2, tokens[1, -1]] = -np.inf
    return case(logits, tokens, counts)


def _models_texts(rng: np.random.Generator) -> list[Case]:
    return [
        _texts(rng, 3, 6, 4, 1.0),
        _texts(rng, 4, 7, 5, 3.0),
        _with_forbidden(_texts(rng, 4, 8, 5, 2.0)),
        _with_forbidden(_texts(rng, 5, 6, 3, 1.0)),
        _written_all_the_same(_texts(rng, 3, 5, 4, 1.0)),
    ]


def _far_texts(rng: np.random.Generator) -> list[Case]:
    """Scores in the thousands; of two tokens that count one is certain, one hopeless."""
    logits, tokens, counts = _texts(rng, 4, 7, 5, 1000.0).arguments
    logits[1, 4:6] = [[0], [8000]]
    logits[1, [4, 5], tokens[1, [5, 6]]] = [4000, 0]
    return [case(logits, tokens, counts)]


token_logps = function_task(
    "token_logps",
    truth=_one_by_one,
    cases=_models_texts,
    far=_far_texts,
    mistakes={
        "a token is scored at the place before it: these scores were given after it was read.": (
            _own_place
        ),
        "the shift goes the other way: the logits at t are for the token at t + 1.": OneOf(
            [_place_after, _place_after_to_the_last]
        ),
        "the normaliser is a plain maximum here: it is the log of a sum of exponentials.": _scored(
            lambda logits: logits - logits.max(axis=-1, keepdims=True)
        ),
        "the first token that counts is lost.": _scored(
            _log_softmax,
            keep=lambda values, counts: np.where(counts, _late_mask(values, counts), 0),
        ),
        "the last token is lost: what scores it stands at the place before.": OneOf(
            [
                _scored(
                    _log_softmax,
                    keep=lambda values, counts: np.where(counts, _early_mask(values, counts), 0),
                ),
                lambda logits, tokens, counts: np.pad(
                    _one_by_one(logits, tokens, counts)[:, :-1], ((0, 0), (0, 1))
                ),
            ]
        ),
        "this looks up the token before: logits[t - 1] score tokens[t].": _token_before,
        "every number stands one place early: that of tokens[t] belongs at [t].": _early,
        "the first place is missing: nothing scores it, so put 0 there.": _without_first,
        "these are scores: subtract the log of the sum of their exponentials.": _scored(
            lambda logits: logits
        ),
        "normalised over the wrong axis: over the words that could stand in one place.": OneOf(
            _scored(lambda logits, axis=axis: log_softmax(logits, axis=axis))
            for axis in (0, 1, None)
        ),
        "normalised over the places without the last: the words are the last axis.": (
            lambda logits, tokens, counts: np.where(
                counts,
                _aligned(
                    np.pad(log_softmax(logits[:, :-1], axis=1), ((0, 0), (0, 1), (0, 0))), tokens
                ),
                0,
            )
        ),
        "these are probabilities: logarithms add up.": OneOf(
            [
                _scored(lambda logits: softmax(logits, axis=-1)),
                _scored(
                    lambda logits: softmax(logits, axis=-1),
                    keep=lambda values, counts: np.where(counts, values, 1),
                ),
            ]
        ),
        "a minus too many: the logarithm of a probability is negative.": _scored(
            lambda logits: -_log_softmax(logits)
        ),
        "these logarithms have base 2 or 10: nats are asked for.": OneOf(
            _scored(lambda logits, base=base: _log_softmax(logits) / np.log(base))
            for base in (2, 10)
        ),
        "prompt and padding are to be 0: use `counts`.": _scored(
            _log_softmax, keep=lambda values, counts: values
        ),
        "`counts` marks the token itself: it must not be shifted against the tokens.": OneOf(
            [_scored(_log_softmax, keep=_late_mask), _scored(_log_softmax, keep=_early_mask)]
        ),
        "0 times minus infinity is nan: choose with np.where instead of multiplying.": _scored(
            _log_softmax, keep=lambda values, counts: values * counts
        ),
        "an epsilon under the logarithm caps it: minus infinity may come out.": (
            OneOf(
                _scored(lambda logits, e=10.0**-n, keep=keep: np.log(keep(softmax(logits, -1), e)))
                for n in (6, 8, 9, 10, 12, 15)
                for keep in (np.add, np.maximum)
            )
        ),
        "what does not count is to be 0.": OneOf(
            _scored(_log_softmax, keep=lambda values, counts, w=w: np.where(counts, values, w))
            for w in (np.nan, -np.inf, 1.0)
        ),
        "what does not count is to be 0, after the first place, too.": OneOf(
            _scored(
                _log_softmax,
                keep=lambda values, counts, w=w: np.where(
                    counts | (np.arange(counts.shape[1]) == 0), values, w
                ),
            )
            for w in (np.nan, -np.inf)
        ),
        "this is the likeliest word of each place: what stands in `tokens` was written.": OneOf(
            [_likeliest(1), _likeliest(0)]
        ),
        "these are added up along the row: each token's own number is asked for.": (
            lambda logits, tokens, counts: _one_by_one(logits, tokens, counts).cumsum(axis=1)
        ),
        "divided by how many tokens count: that belongs to another loss.": (
            lambda logits, tokens, counts: (
                _one_by_one(logits, tokens, counts)
                / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            )
        ),
        "this is the sum of each row: one number for each token is asked for.": (
            lambda logits, tokens, counts: _one_by_one(logits, tokens, counts).sum(axis=1)
        ),
        "this is the mean of each row: one number for each token is asked for.": (
            lambda logits, tokens, counts: (
                _one_by_one(logits, tokens, counts).sum(axis=1) / counts.sum(axis=1)
            )
        ),
        "exp overflows at scores in the thousands: take the largest score out first.": OneOf(
            [_scored(_by_quotient), _scored(_by_difference)]
        ),
        "softmax is 0 where a word is hopeless: take the logarithm before, not after.": _scored(
            lambda logits: np.log(softmax(logits, axis=-1))
        ),
    },
)

# --- 3 what the mean trains ---------------------------------------------------------------------


def _tilted(exponent: Floats, ref: Floats) -> Any:
    """ref exp(exponent), normalised."""
    return softmax(np.log(ref) + exponent)


def _at_level(reward: Floats, ref: Floats, lengths: Ints, *, beta: float) -> Any:
    """Newton's steps from above to the one number c: the sum is convex in it."""
    on = ref > 0
    base, size = np.log(ref[on]) + lengths[on] * reward[on] / beta, lengths[on]
    c = -(reward[on] / beta).min()
    for _ in range(2000):
        total = logsumexp(base + size * c)
        step = total / (softmax(base + size * c) @ size)
        c -= step
        if abs(step) < 1e-15 * max(1, abs(c)):
            break
    policy = np.zeros(len(ref))
    policy[on] = np.exp(base + size * c)
    return policy / policy.sum()


def _of_lengths(exponent: Callable[[Floats, Ints, float], Floats]) -> Function:
    """A policy that tilts the reference by something of (reward, lengths, beta)."""
    return lambda reward, ref, lengths, *, beta: _tilted(exponent(reward, lengths, beta), ref)


def _of_one_length(of: Function, power: float) -> Function:
    """One number of tokens, to some power, for all responses."""
    return _of_lengths(lambda r, n, b: r / b * of(n) ** power)


def _plain_weights(reward: Floats, ref: Floats, lengths: Ints, *, beta: float) -> Any:
    return ref * np.exp(lengths * reward / beta)


def _reference_divided(reward: Floats, ref: Floats, lengths: Ints, *, beta: float) -> Any:
    on = ref > 0
    log_ref = np.where(on, np.log(np.where(on, ref, 1)), 0)
    gain = reward + beta * log_ref - beta * log_ref / lengths
    return _at_level(gain, ref, lengths, beta=beta)


def _the_level(reward: Floats, ref: Floats, lengths: Ints, *, beta: float) -> Any:
    policy = _at_level(reward, ref, lengths, beta=beta)
    best = policy.argmax()
    return np.log(policy[best] / ref[best]) / lengths[best] - reward[best] / beta


def _above(least: float) -> Function:
    """What a search finds that does not look below some c."""

    def policy(reward: Floats, ref: Floats, lengths: Ints, *, beta: float) -> Any:
        c = max(least, _the_level(reward, ref, lengths, beta=beta))
        return np.exp(_log(ref) + lengths * (reward / beta + c))

    return policy


def _lengths_tried(rng: np.random.Generator) -> list[Case]:
    """Two responses; several; all of one length; a long one; one that is never written."""
    some, many = np.array([1, 2, 2, 4]), np.array([1, 2, 3, 4, 25])
    ref = rng.dirichlet(np.full(4, 3.0))
    barred = np.array([0.5, 0.0, 0.2, 0.3])
    high = np.array([0.3, 4.0, -0.5, 1.0])
    return [
        case(np.array([0.0, 1.0]), np.array([0.5, 0.5]), np.array([1, 2]), beta=1.0),
        case(rng.normal(size=4), ref, some, beta=0.5),
        case(rng.normal(size=4), ref[::-1].copy(), some[::-1].copy(), beta=2.0),
        case(rng.normal(size=3), rng.dirichlet(np.full(3, 3.0)), np.full(3, 3), beta=1.0),
        case(rng.normal(size=5) / 3, rng.dirichlet(np.full(5, 3.0)), many, beta=0.7),
        case(high, barred, some, beta=0.8),
    ]


def _steep_rewards(rng: np.random.Generator) -> list[Case]:
    lengths = np.array([1, 5, 40])
    reward = np.array([30.0, 0.0, 2.0]) + rng.normal()
    return [
        case(reward, np.array([0.2, 0.3, 0.5]), lengths, beta=0.1),
        case(reward[[1, 0, 2]], np.array([0.5, 0.0, 0.5]), lengths, beta=0.1),
    ]


def _of_a_search(_: Function, fault: str | None, __: list[Case]) -> str | None:
    """What is wrong, and what helps if a search for the constant stopped."""
    if fault and "must have different signs" in fault:
        return f"{fault} At both ends of your bracket the sign is the same: let it grow."
    if fault and "is NaN; solver" in fault:
        return f"{fault} Leave responses with pi_ref = 0 out, and add logarithms (logsumexp)."
    if fault and fault.startswith("it does not sum to 1: divide"):  # which would not be enough
        return "this does not sum to 1: which c makes it?"
    return fault


mean_optimum = function_task(
    "mean_optimum",
    truth=_at_level,
    cases=_lengths_tried,
    far=_steep_rewards,
    tolerance=1e-6,
    then=_of_a_search,
    mistakes={
        "this is where the sum ends, not the mean.": _of_lengths(lambda r, n, b: r / b),
        "divided by its sum: but the constant stands in a mean, so it is multiplied by |y| too.": (
            _of_lengths(lambda r, n, b: n * r / b)
        ),
        "the lengths are the wrong way round: solve log-ratio / |y| = r / beta + c.": OneOf(
            [
                _of_lengths(lambda r, n, b: r / (b * n)),
                lambda r, ref, n, *, beta: _at_level(r, ref, 1 / n, beta=beta),
            ]
        ),
        "this does not sum to 1: which c makes it?": _plain_weights,
        "this c is that of the sum, -log Z: with the mean another one makes it sum to 1.": OneOf(
            lambda r, ref, n, *, beta, of=of: of(
                _log(ref) + n * (r / beta - logsumexp(_log(ref) + r / beta))
            )
            for of in (softmax, np.exp)
        ),
        "where r / beta is in the hundreds c lies outside your bracket: let it grow.": OneOf(
            _above(-size) for size in (10, 20, 30, 40, 50, 100, 200)
        ),
        "a response with pi_ref = 0 keeps 0, however large its reward: no epsilon instead.": OneOf(
            lambda r, ref, n, *, beta, e=10.0**-digits, of=of: _at_level(
                r, of(ref, e), n, beta=beta
            )
            for digits in (6, 8, 9, 10, 12, 15, 300)
            for of in (np.add, np.maximum)
        ),
        "beta is missing.": lambda r, ref, n, *, beta: _at_level(r, ref, n, beta=1.0),
        "beta multiplies, and should divide.": (
            lambda r, ref, n, *, beta: _at_level(r, ref, n, beta=1 / beta)
        ),
        "the sign of the reward: what earns more gains.": (
            lambda r, ref, n, *, beta: _at_level(-r, ref, n, beta=beta)
        ),
        "the reward is multiplied by |y| as well: log-ratio = |y| (r / beta + c).": (
            lambda r, ref, n, *, beta: _at_level(r / n, ref, n, beta=beta)
        ),
        "the mean divides log pi by |y| as well: here only log pi_ref is divided.": (
            lambda r, ref, n, *, beta: softmax(_log(ref) / n + r / beta)
        ),
        "the reference is missing.": lambda r, ref, n, *, beta: _at_level(
            r, np.full(len(ref), 1 / len(ref)), n, beta=beta
        ),
        "log pi_ref is not multiplied by |y|: only r / beta + c is.": OneOf(
            [
                _reference_divided,
                lambda r, ref, n, *, beta: softmax(n * (_log(ref) + r / beta)),
            ]
        ),
        "each response has its own length: this uses one number for all.": OneOf(
            _of_one_length(of, power)
            for of in (np.mean, np.max, np.sum, np.min)
            for power in (1.0, -1.0)
        ),
        "this is the reference: training moves it.": lambda r, ref, n, *, beta: ref,
        "this is c: the policy is asked for.": _the_level,
        "these are logarithms: the policy is asked for.": (
            lambda r, ref, n, *, beta: np.log(_at_level(r, ref, n, beta=beta))
        ),
        "longer responses are punished here: the mean holds them less.": OneOf(
            [
                _of_lengths(lambda r, n, b: r / b - n),
                _of_lengths(lambda r, n, b: r / b - np.log(n)),
            ]
        ),
    },
)

# --- chains -------------------------------------------------------------------------------------


def _listed(places: int, tokens: int) -> Ints:
    """All responses of so many places."""
    return np.array(list(product(range(tokens), repeat=places)), dtype=np.int64)


def _along(table: Floats, responses: Ints, *, start: int = START, first: int = 0) -> Floats:
    """The sum of a table's entries along each response, which begins at a place after a token."""
    before = np.pad(responses[:, :-1], ((0, 0), (1, 0)), constant_values=start)
    places = first + np.arange(responses.shape[1])
    return np.asarray(table[places, before, responses].sum(axis=1))


def _log(table: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(table))


def _drawn(rng: np.random.Generator, places: int, tokens: int, *, ends: bool = False) -> Floats:
    """A chain; one that ends stays with its last token, which comes for the first time anywhere."""
    chain = rng.dirichlet(np.full(tokens, 2.0), size=(places, tokens))
    if ends:
        chain[:, -1] = np.eye(tokens)[-1]
    return chain


def _divergence_of(p: Floats, q: Floats) -> Floats:
    """KL(p || q) of each row."""
    return np.asarray(np.where(p > 0, p * (_log(p) - _log(q)), 0).sum(axis=-1))


def _met(chain: Floats) -> Floats:
    """How often each token stands before each place."""
    met = np.zeros(chain.shape[:2])
    met[0, START] = 1
    for place in range(len(chain) - 1):
        met[place + 1] = met[place] @ chain[place]
    return met


# --- 4 the best chain ---------------------------------------------------------------------------


def _by_listing(reward: Floats, ref: Floats, *, beta: float) -> Any:
    """After each token, list all that may follow, and add up what begins alike."""
    places, tokens, _ = ref.shape
    best, weights = np.zeros(ref.shape), _log(ref) + reward / beta
    for place, before in np.ndindex(places, tokens):
        rest = _listed(places - place, tokens)
        follow = _along(weights, rest, start=before, first=place)
        total = [logsumexp(follow[rest[:, 0] == token]) for token in range(tokens)]
        best[place, before] = softmax(total)
    return best


def _log_mean_exp(q: Floats, ref: Floats, beta: float) -> Any:
    return beta * logsumexp(_log(ref) + q / beta, axis=-1)


def _gibbs(q: Floats, ref: Floats, beta: float) -> Any:
    return softmax(_log(ref) + q / beta, axis=-1)


def _backward(
    value: Function = _log_mean_exp, row: Function = _gibbs, *, later: float = 1.0
) -> Function:
    """The recursion with one thing changed: what a row is worth, how it is tilted, what follows."""

    def chain(reward: Floats, ref: Floats, *, beta: float) -> Any:
        worth = np.zeros(ref.shape[1])
        rows = []
        for place in reversed(range(len(ref))):
            q = reward[place] + later * worth
            rows.append(row(q, ref[place], beta))
            worth = value(q, ref[place], beta)
        return np.array(rows[::-1])

    return chain


def _way(q: Floats) -> Any:
    return np.eye(q.shape[-1])[q.argmax(axis=-1)]


def _only(which: Function) -> Function:
    """The best rows in some places of the reference."""

    def chain(reward: Floats, ref: Floats, *, beta: float) -> Any:
        best, found = _backward()(reward, ref, beta=beta), ref.copy()
        found[which(best, ref)] = best[which(best, ref)]
        return found

    return chain


def _but(place: int) -> Function:
    """The best chain but for one place, where it is the reference."""

    def chain(reward: Floats, ref: Floats, *, beta: float) -> Any:
        found = _backward()(reward, ref, beta=beta)
        found[place] = ref[place]
        return found

    return chain


def _never_met(instead: Function) -> Function:
    """The best chain with other rows at place 0 where no token but 0 stands before."""

    def chain(reward: Floats, ref: Floats, *, beta: float) -> Any:
        found = _backward()(reward, ref, beta=beta)
        found[0, 1:] = instead(found, ref)
        return found

    return chain


def _one_ahead(reward: Floats, ref: Floats, *, beta: float) -> Any:
    """Each place as if the next one were the last."""
    worth = [_log_mean_exp(q, row, beta) for q, row in zip(reward[1:], ref[1:], strict=True)]
    rows = zip(reward, ref, [*worth, 0.0], strict=True)
    return np.array([_gibbs(q + value, row, beta) for q, row, value in rows])


def _forward(reward: Floats, ref: Floats, *, beta: float) -> Any:
    found = _backward()(reward[::-1], ref[::-1], beta=beta)
    return found[::-1]


def _off_support(value: Floats, ref: Floats) -> Any:
    return np.where(ref > 0, value, -np.inf)


def _naive_value(q: Floats, ref: Floats, beta: float) -> Any:
    return beta * np.log((ref * np.exp(q / beta)).sum(axis=-1))


def _naive_row(q: Floats, ref: Floats, beta: float) -> Any:
    weight = ref * np.exp(q / beta)
    return weight / weight.sum(axis=-1, keepdims=True)


def _naive_difference(q: Floats, ref: Floats, beta: float) -> Any:
    return ref * np.exp((q - _naive_value(q, ref, beta)[:, None]) / beta)


def _in_weights(reward: Floats, ref: Floats, *, beta: float) -> Any:
    rows, total = [], np.ones(ref.shape[1])
    for place in reversed(range(len(ref))):
        weight = ref[place] * np.exp(reward[place] / beta) * total
        total = weight.sum(axis=-1)
        rows.append(weight / total[:, None])
    return np.array(rows[::-1])


def _top_value(q: Floats, ref: Floats, beta: float) -> Any:
    top = q.max(axis=-1, keepdims=True)
    return top[:, 0] + beta * np.log((ref * np.exp((q - top) / beta)).sum(axis=-1))


def _top_row(q: Floats, ref: Floats, beta: float) -> Any:
    weight = ref * np.exp((q - q.max(axis=-1, keepdims=True)) / beta)
    return weight / weight.sum(axis=-1, keepdims=True)


def _top_difference(q: Floats, ref: Floats, beta: float) -> Any:
    return ref * np.exp((q - _top_value(q, ref, beta)[:, None]) / beta)


def _uniform(ref: Floats) -> Floats:
    return np.full(ref.shape, 1 / ref.shape[-1])


def _values_of(reward: Floats, ref: Floats, *, beta: float, last: bool = True) -> Any:
    values = np.zeros((len(ref) + 1, ref.shape[1]))
    for place in reversed(range(len(ref))):
        values[place] = _log_mean_exp(reward[place] + values[place + 1], ref[place], beta)
    return values if last else values[:-1]


def _worlds(rng: np.random.Generator) -> list[Case]:
    """One place; two tokens; more; a response that may end early; a token that is never written."""
    sizes = [(2, 2, 1.0), (3, 3, 0.5), (4, 2, 2.0), (1, 4, 0.7)]
    worlds = [
        case(rng.normal(size=(t, v, v)), _drawn(rng, t, v), beta=beta) for t, v, beta in sizes
    ]
    ended = rng.normal(size=(4, 3, 3))
    ended[:, -1] = 0
    barred = _drawn(rng, 3, 3)
    barred[1:, :, 1] = 0
    barred /= barred.sum(axis=-1, keepdims=True)
    return [
        *worlds,
        case(ended, _drawn(rng, 4, 3, ends=True), beta=0.4),
        case(rng.normal(size=(3, 3, 3)), barred, beta=1.5),
    ]


def _steep_worlds(rng: np.random.Generator) -> list[Case]:
    barred = _drawn(rng, 3, 3)
    barred[..., 2] = 0
    barred /= barred.sum(axis=-1, keepdims=True)
    tempting = rng.normal(size=(3, 3, 3))
    tempting[..., 2] = 2000
    return [
        case(3000 * rng.normal(size=(2, 3, 3)), _drawn(rng, 2, 3), beta=0.5),
        case(tempting, barred, beta=0.5),
    ]


best_chain = function_task(
    "best_chain",
    truth=_by_listing,
    cases=_worlds,
    far=_steep_worlds,
    alone=True,
    mistakes={
        "what may follow is forgotten, or added to a whole row, where it cancels: Q[s, a] needs "
        "the value of a.": _backward(later=0.0),
        "this goes from the front: what follows is known only from the end.": _forward,
        "the value is a plain maximum here: it is soft, beta log of a mean of exponentials.": OneOf(
            [
                _backward(lambda q, ref, b: q.max(axis=-1)),
                _backward(lambda q, ref, b: _off_support(q, ref).max(axis=-1)),
            ]
        ),
        "the value is the reference's mean here: exponentials are averaged, then comes the log.": (
            _backward(lambda q, ref, b: (ref * q).sum(axis=-1))
        ),
        "the value is the best policy's mean reward: its KL is to be paid from it.": _backward(
            lambda q, ref, b: (_gibbs(q, ref, b) * q).sum(axis=-1)
        ),
        "the value is in nats: times beta it has the unit of the reward.": _backward(
            lambda q, ref, b: _log_mean_exp(q, ref, b) / b
        ),
        "what may follow is added to r / beta, and has the unit of r: divide both by beta.": (
            lambda reward, ref, *, beta: _backward(later=beta)(reward, ref, beta=beta)
        ),
        "the reference is missing in the value: it weighs the exponentials.": OneOf(
            [
                _backward(lambda q, ref, b: _log_mean_exp(q, np.ones(ref.shape), b)),
                _backward(lambda q, ref, b: _log_mean_exp(q, _uniform(ref), b)),
                _backward(lambda q, ref, b: _log_mean_exp(q, 1.0 * (ref > 0), b)),
                _backward(lambda q, ref, b: _log_mean_exp(q, _uniform(ref) * (ref > 0), b)),
            ]
        ),
        "the reference is missing in the policy: it is tilted by exp(Q / beta).": _backward(
            row=lambda q, ref, b: softmax(q / b, axis=-1)
        ),
        "the reference is missing everywhere.": _backward(
            lambda q, ref, b: _log_mean_exp(q, np.ones(ref.shape), b),
            lambda q, ref, b: softmax(q / b, axis=-1),
        ),
        "beta is missing.": lambda reward, ref, *, beta: _backward()(reward, ref, beta=1.0),
        "beta multiplies, and should divide.": (
            lambda reward, ref, *, beta: _backward()(reward, ref, beta=1 / beta)
        ),
        "each row must sum to 1: subtract V in the exponent, or divide by the row's sum.": OneOf(
            [
                _backward(row=lambda q, ref, b: ref * np.exp(q / b)),
                _backward(later=0.0, row=lambda q, ref, b: ref * np.exp(q / b)),
            ]
        ),
        "normalised over the token before: rows of the last axis sum to 1.": _backward(
            row=lambda q, ref, b: softmax(_log(ref) + q / b, axis=0)
        ),
        "this is the one best way: the leash keeps others, so every step has a chance.": OneOf(
            [
                _backward(lambda q, ref, b: q.max(axis=-1), lambda q, ref, b: _way(q)),
                _backward(row=lambda q, ref, b: _way(q)),
            ]
        ),
        "rows after other tokens than 0 are left as they were: they are met later on.": OneOf(
            [_only(lambda best, ref: (slice(None), 0)), _only(lambda best, ref: (0, 0))]
        ),
        "one place is left as it was: the recursion runs from the last to the first.": OneOf(
            [_but(0), _but(-1)]
        ),
        "the places are in reverse order.": (
            lambda reward, ref, *, beta: _backward()(reward, ref, beta=beta)[::-1]
        ),
        "what may follow is subtracted: it is worth something, so it is added.": (
            _backward(later=-1.0)
        ),
        "what may follow counts twice.": _backward(later=2.0),
        "this looks one place ahead: a value holds all the places that follow.": _one_ahead,
        "the value is divided by beta: beta multiplies the logarithm.": _backward(
            lambda q, ref, b: _log_mean_exp(q, ref, b) / b**2
        ),
        "the reward of the last place is forgotten.": (
            lambda reward, ref, *, beta: _backward()(
                np.concatenate([reward[:-1], 0 * reward[-1:]]), ref, beta=beta
            )
        ),
        "rows that are never met are wanted as well: what would be best from there?": OneOf(
            [_never_met(lambda best, ref: 0), _never_met(lambda best, ref: ref[0, 1:])]
        ),
        "place 0 has a row for every token, not one row for all.": _never_met(
            lambda best, ref: best[0, START]
        ),
        "rows and columns: in chain[t, s, a] the token that comes next is last.": (
            lambda reward, ref, *, beta: _backward()(reward, ref, beta=beta).transpose(0, 2, 1)
        ),
        "these are the soft values: the chain is asked for.": OneOf(
            [
                _values_of,
                lambda reward, ref, *, beta: _values_of(reward, ref, beta=beta, last=False),
            ]
        ),
        "these are logarithms: the chain is asked for.": (
            lambda reward, ref, *, beta: _log(_backward()(reward, ref, beta=beta))
        ),
        "this is the reference: the reward must move it.": lambda reward, ref, *, beta: ref,
        "exp overflows at rewards in the thousands: take the largest exponent out first.": OneOf(
            [
                _backward(_naive_value, _naive_row),
                _backward(_naive_value, _naive_difference),
                _in_weights,
            ]
        ),
        "the largest exponent taken out is that of a token that the reference never writes.": OneOf(
            [_backward(_top_value, _top_row), _backward(_top_value, _top_difference)]
        ),
    },
)

# --- 5 the divergence of chains -----------------------------------------------------------------


def _over_all(p: Floats, q: Floats) -> Any:
    """KL over the list of all responses."""
    responses = _listed(len(p), p.shape[1])
    log_p, log_q = (_along(_log(chain), responses) for chain in (p, q))
    seen = np.isfinite(log_p)
    return (np.exp(log_p[seen]) * (log_p[seen] - log_q[seen])).sum()


def _weighed(weights: Function) -> Function:
    """The rows' divergences, with other weights."""

    def divergence(p: Floats, q: Floats) -> Any:
        rows, weight = _divergence_of(p, q), np.asarray(weights(p, q))
        return np.where(weight > 0, weight * np.where(weight > 0, rows, 0), 0).sum()

    return divergence


def _one_late(p: Floats, q: Floats) -> Any:
    met = _met(p)
    return np.concatenate([met[1:], [met[-1] @ p[-1]]])


def _transposed(p: Floats, q: Floats) -> Any:
    met = np.zeros(p.shape[:2])
    met[0, START] = 1
    for place in range(len(p) - 1):
        met[place + 1] = p[place] @ met[place]
    return met


def _one_table_on(p: Floats, q: Floats) -> Any:
    met = np.zeros(p.shape[:2])
    met[0, START] = 1
    for place in range(len(p) - 1):
        met[place + 1] = met[place] @ p[place + 1]
    return met


def _likeliest_way(p: Floats, q: Floats) -> Any:
    rows, total, token = _divergence_of(p, q), 0.0, START
    for place in range(len(p)):
        total += rows[place, token]
        token = p[place, token].argmax()
    return total


def _finite_rows(p: Floats, q: Floats) -> Any:
    rows = _divergence_of(p, q)
    return (_met(p) * np.where(np.isfinite(rows), rows, 0)).sum()


def _finite_steps(p: Floats, q: Floats) -> Any:
    both = (p > 0) & (q > 0)
    terms = np.where(both, p * np.log(np.where(both, p, 1) / np.where(both, q, 1)), 0)
    return (_met(p)[:, :, None] * terms).sum()


def _from_the_same_row(p: Floats, q: Floats) -> Any:
    return np.repeat(np.eye(p.shape[1])[[START]], len(p), axis=0)


def _anew(p: Floats, q: Floats) -> Any:
    met = _from_the_same_row(p, q)
    met[1:] = p[:-1, START]
    return met


def _alike_after_the_first(p: Floats, weight: float = 1.0) -> Any:
    met = np.full(p.shape[:2], weight)
    met[0] = np.eye(p.shape[1])[START]
    return met


def _from_all_rows(p: Floats, q: Floats) -> Any:
    met = np.full(p.shape[:2], 1 / p.shape[1])
    for place in range(len(p) - 1):
        met[place + 1] = met[place] @ p[place]
    return met


def _by_columns(p: Floats, q: Floats) -> Any:
    terms = np.where(p > 0, p * (_log(p) - _log(q)), 0).sum(axis=1)
    return np.where(_met(p) > 0, _met(p) * terms, 0).sum()


def _cross_entropy(p: Floats, q: Floats) -> Any:
    taken = _met(p)[:, :, None] * p
    return -np.where(taken > 0, taken * np.where(taken > 0, _log(q), 0), 0).sum()


def _bare(weights: Function) -> Function:
    """The sum without a thought for zeros."""

    def divergence(p: Floats, q: Floats) -> Any:
        return (weights(p, q)[:, :, None] * p * np.log(p / q)).sum()

    return divergence


def _by_place(p: Floats, q: Floats) -> Any:
    met = _met(p)
    return np.where(met > 0, met * np.where(met > 0, _divergence_of(p, q), 0), 0).sum(axis=1)


def _chains(rng: np.random.Generator) -> list[Case]:
    """Pairs of chains: steps never taken, a row never met, a step that only q never takes."""
    pairs = [(_drawn(rng, t, v), _drawn(rng, t, v)) for t, v in [(2, 2), (3, 3), (4, 2), (1, 3)]]
    ending = _drawn(rng, 4, 3, ends=True), _drawn(rng, 4, 3, ends=True)
    strange = _drawn(rng, 3, 3), _drawn(rng, 3, 3)
    strange[1][0, 1] = [0, 0.5, 0.5]
    strange[0][0, START] = [0.7, 0, 0.3]  # so token 1 never stands before place 1
    strange[1][1, 1] = [0, 0, 1]
    never = _drawn(rng, 3, 3), _drawn(rng, 3, 3)
    never[1][2, 1] = [0.4, 0, 0.6]  # a step that p takes
    return [case(p, q) for p, q in [*pairs, ending, strange, never]]


divergence = function_task(
    "divergence",
    truth=_over_all,
    cases=_chains,
    alone=True,
    mistakes={
        "the rows are met as often as q meets them: the responses are those of p.": _weighed(
            lambda p, q: _met(q)
        ),
        "this is KL(q || p).": lambda p, q: _over_all(q, p),
        "the rows of KL(q || p), weighed by p: both are to be p's.": (
            lambda p, q: _weighed(lambda q, p: _met(p))(q, p)
        ),
        "every row counts alike here: it counts as often as p meets it.": OneOf(
            [
                _weighed(lambda p, q: np.ones(p.shape[:2])),
                _weighed(lambda p, q: np.full(p.shape[:2], 1 / p.shape[1])),
                _weighed(lambda p, q: _alike_after_the_first(p)),
                _weighed(lambda p, q: _alike_after_the_first(p, 1 / p.shape[1])),
                lambda p, q: _divergence_of(p, q).mean(),
            ]
        ),
        "this stays in row 0: only at the first place does token 0 stand before.": _weighed(
            _from_the_same_row
        ),
        "how often a token stands before goes on from place to place: here it begins anew with "
        "row 0 of the place before.": _weighed(_anew),
        "each place is taken for itself here: what comes depends on the token before.": (
            lambda p, q: _divergence_of(_one_late(p, p), _one_late(q, q)).sum()
        ),
        "every token stands before place 0 alike here: it is token 0.": _weighed(_from_all_rows),
        "this sums over the token before: the divergence of a row is a sum over its last axis.": (
            _by_columns
        ),
        "this is the cross-entropy: p's own part is missing, log p - log q.": _cross_entropy,
        "both directions are in it: KL(p || q) alone is asked for.": OneOf(
            [
                lambda p, q: _over_all(p, q) + _over_all(q, p),
                lambda p, q: (_over_all(p, q) + _over_all(q, p)) / 2,
            ]
        ),
        "these are differences of probabilities: logarithms of ratios are asked for.": OneOf(
            [
                lambda p, q: np.abs(p - q).sum() / 2,
                lambda p, q: np.abs(p - q).sum(),
                lambda p, q: ((p - q) ** 2).sum(),
            ]
        ),
        "the last place is lost.": lambda p, q: _by_place(p, q)[:-1].sum(),
        "the first place is lost.": lambda p, q: _by_place(p, q)[1:].sum(),
        "of each place the largest row is taken: it is the mean of its rows, as often as p meets "
        "them.": lambda p, q: np.where(_met(p) > 0, _divergence_of(p, q), 0).max(axis=1).sum(),
        "this follows the likeliest tokens only: p writes others, too.": _likeliest_way,
        "from place t to the next leads p[t], not p[t + 1].": _weighed(_one_table_on),
        "where p takes a step that q never takes it is infinite: nothing is left out.": OneOf(
            [
                lambda p, q: np.nan_to_num(_over_all(p, q), posinf=0.0),
                _finite_rows,
                _finite_steps,
            ]
        ),
        "only the first place counts here.": lambda p, q: _divergence_of(p, q)[0, START],
        "only the last place counts here.": lambda p, q: _by_place(p, q)[-1],
        "one place late: at place 0 the token before is 0, for certain.": _weighed(_one_late),
        "rows and columns: what is met next is met[t] @ p[t], from token before to token.": (
            _weighed(_transposed)
        ),
        "divided by the number of places: a response's divergence is the sum over its tokens.": (
            lambda p, q: _over_all(p, q) / len(p)
        ),
        "this is the divergence at each place: add them up.": _by_place,
        "this logarithm has base 2: nats are asked for.": lambda p, q: _over_all(p, q) / np.log(2),
        "a minus too many: a divergence is never negative.": lambda p, q: -_over_all(p, q),
        "a step that p never takes counts 0, and a row that it never meets, too: these are nan or "
        "infinite.": OneOf(
            [
                _bare(lambda p, q: _met(p)),
                lambda p, q: (_met(p) * _divergence_of(p, q)).sum(),
                lambda p, q: (_met(p) * (p * np.log(p / q)).sum(axis=-1)).sum(),
            ]
        ),
    },
)

# --- 6 the meter --------------------------------------------------------------------------------


def _both_rewards(policy: Floats, ref: Floats, author: Floats, *, beta: float) -> Any:
    """All pairs that the author may write, one after the other."""
    responses = _listed(len(ref), ref.shape[1])
    log_pi, log_ref, log_author = (_along(_log(c), responses) for c in (policy, ref, author))
    seen = np.isfinite(log_author)
    implicit = beta * (log_pi[seen] - log_ref[seen])
    chance = np.exp(log_author[seen])
    return (np.outer(chance, chance) * (implicit[:, None] + implicit[None, :])).sum()


def _of_kl(kl: Callable[[Floats, Floats, Floats], Any], factor: float) -> Function:
    """A factor times beta times some divergence of (policy, ref, author)."""
    return lambda policy, ref, author, *, beta: factor * beta * kl(policy, ref, author)


def _rows_alike(policy: Floats, ref: Floats, author: Floats, *, beta: float) -> Any:
    ratio = np.where(author > 0, author * (_log(policy) - _log(ref)), 0)
    return 2 * beta * ratio.sum()


def _rows_of(met: Function) -> Function:
    """Rows that are met as `met` says of (policy, ref, author)."""

    def reading(policy: Floats, ref: Floats, author: Floats, *, beta: float) -> Any:
        taken = met(policy, ref, author)[:, :, None] * author
        ratio = np.where(taken > 0, _log(policy) - _log(ref), 0)
        return 2 * beta * (taken * ratio).sum()

    return reading


def _but_the_last(policy: Floats, ref: Floats, author: Floats) -> Any:
    return _met(author) * (np.arange(len(ref)) < len(ref) - 1)[:, None]


def _but_the_first(policy: Floats, ref: Floats, author: Floats) -> Any:
    return _met(author) * (np.arange(len(ref)) > 0)[:, None]


def _with_nan(policy: Floats, ref: Floats, author: Floats, *, beta: float) -> Any:
    return 2 * beta * (_met(author)[:, :, None] * author * np.log(policy / ref)).sum()


def _with_rows_of_nan(policy: Floats, ref: Floats, author: Floats, *, beta: float) -> Any:
    ratio = np.where(author > 0, author * (_log(policy) - _log(ref)), 0)
    return 2 * beta * (_met(author)[:, :, None] * ratio).sum()


def _authors(rng: np.random.Generator) -> list[Case]:
    """Pairs of a third author, of the reference, of the policy; responses that end early.

    At last a row that only the author never comes to, where the policy has a 0.
    """
    third = [_drawn(rng, 3, 3) for _ in range(3)]
    ends = [_drawn(rng, 4, 3, ends=True) for _ in range(3)]
    two = [_drawn(rng, 2, 2) for _ in range(3)]
    shy = [_drawn(rng, 3, 3) for _ in range(3)]
    shy[0][1, 1] = [0, 0.4, 0.6]
    shy[2][0, START] = [0.7, 0, 0.3]
    return [
        case(*two, beta=0.5),
        case(*third, beta=0.1),
        case(third[0], third[1], third[1].copy(), beta=2.0),
        case(third[0], third[1], third[0].copy(), beta=0.3),
        case(*ends, beta=1.0),
        case(ends[0], ends[1], ends[1].copy(), beta=0.7),
        case(*shy, beta=0.4),
    ]


meter = function_task(
    "meter",
    truth=_both_rewards,
    cases=_authors,
    mistakes={
        "this holds for pairs that the reference wrote: who wrote these?": _of_kl(
            lambda policy, ref, author: _over_all(ref, policy), -2
        ),
        "this holds for pairs that the policy wrote: who wrote these?": _of_kl(
            lambda policy, ref, author: _over_all(policy, ref), 2
        ),
        "this is the author's divergence from the policy: the reference's part is missing.": OneOf(
            [
                _of_kl(lambda policy, ref, author: _over_all(author, policy), -2),
                _of_kl(lambda policy, ref, author: _over_all(author, policy), 2),
            ]
        ),
        "this is the author's divergence from the reference: the policy is missing.": OneOf(
            [
                _of_kl(lambda policy, ref, author: _over_all(author, ref), -2),
                _of_kl(lambda policy, ref, author: _over_all(author, ref), 2),
            ]
        ),
        "this is a divergence of policy and reference: whoever wrote the pairs is missing, and a "
        "sign or the direction is wrong.": OneOf(
            [
                _of_kl(lambda policy, ref, author: _over_all(ref, policy), 2),
                _of_kl(lambda policy, ref, author: _over_all(policy, ref), -2),
                _of_kl(lambda policy, ref, author: _over_all(ref, policy), 1),
                _of_kl(lambda policy, ref, author: _over_all(policy, ref), 1),
            ]
        ),
        "this is one of the two rewards: add chosen and rejected.": (
            lambda policy, ref, author, *, beta: _both_rewards(policy, ref, author, beta=beta / 2)
        ),
        "twice too much: a pair has two rewards, and each has the author's mean.": (
            lambda policy, ref, author, *, beta: _both_rewards(policy, ref, author, beta=beta * 2)
        ),
        "this is 0 whatever goes in: chosen minus rejected is, with undecided voters; their sum "
        "is not.": (lambda policy, ref, author, *, beta: 0.0),
        "the meter has either sign, as the author is near the reference or near the policy: "
        "no absolute value, and no limit at 0.": OneOf(
            lambda *given, beta, of=of: of(_both_rewards(*given, beta=beta))
            for of in (abs, lambda x: -abs(x), lambda x: max(x, 0.0), lambda x: min(x, 0.0))
        ),
        "divided by -2 beta these are nats: the mean of chosen + rejected itself is asked for.": (
            lambda policy, ref, author, *, beta: _both_rewards(policy, ref, author, beta=-0.5)
        ),
        "beta is missing: the log's rewards hold it.": (
            lambda policy, ref, author, *, beta: _both_rewards(policy, ref, author, beta=1.0)
        ),
        "beta divides, and should multiply.": (
            lambda policy, ref, author, *, beta: _both_rewards(policy, ref, author, beta=1 / beta)
        ),
        "the sign: a reward is beta log of policy over reference.": (
            lambda policy, ref, author, *, beta: -_both_rewards(policy, ref, author, beta=beta)
        ),
        "the reference is missing: rewards are log-ratios.": (
            lambda policy, ref, author, *, beta: _both_rewards(
                policy, np.ones(ref.shape), author, beta=beta
            )
        ),
        "divided by the number of places: a reward is a sum over tokens.": (
            lambda policy, ref, author, *, beta: (
                _both_rewards(policy, ref, author, beta=beta) / len(ref)
            )
        ),
        "every row counts alike here: it counts as often as the author meets it.": _rows_alike,
        "rows are met as often as the policy meets them: the author wrote the pairs.": (
            _rows_of(lambda policy, ref, author: _met(policy))
        ),
        "rows are met as often as the reference meets them: the author wrote the pairs.": (
            _rows_of(lambda policy, ref, author: _met(ref))
        ),
        "every token stands before place 0 alike here: it is token 0.": (
            _rows_of(lambda policy, ref, author: _from_all_rows(author, ref))
        ),
        "this stays in row 0: only at the first place does token 0 stand before.": (
            _rows_of(lambda policy, ref, author: _from_the_same_row(author, ref))
        ),
        "rows and columns: what is met next is met[t] @ author[t], from token before to token.": (
            _rows_of(lambda policy, ref, author: _transposed(author, ref))
        ),
        "the last place is lost.": _rows_of(_but_the_last),
        "the first place is lost.": _rows_of(_but_the_first),
        "0 times log(0/0) is nan: a step that the author never takes counts 0.": _with_nan,
        "in a row that the author never comes to the policy may have 0: 0 times infinity is nan.": (
            _with_rows_of_nan
        ),
    },
)

# --- 7 what is left of the reward ---------------------------------------------------------------


def _of_beginnings(
    reward: Floats, ref: Floats, responses: Ints, keep: Ints, *, beta: float
) -> Floats:
    """The ratio of two sums over all responses that begin alike."""
    every = _listed(len(ref), ref.shape[1])
    log_ref = _along(_log(ref), every)
    log_weight = log_ref + _along(reward, every) / beta
    log_best = log_weight - logsumexp(log_weight)
    found = np.zeros(len(responses))
    for row, (response, kept) in enumerate(zip(responses, keep, strict=True)):
        if kept == 0:
            continue  # exactly 0, without the last digit of a sum
        alike = (every[:, :kept] == response[:kept]).all(axis=1)
        found[row] = beta * (logsumexp(log_best[alike]) - logsumexp(log_ref[alike]))
    return found


def _earned(reward: Floats, responses: Ints, keep: Ints) -> Floats:
    """The rewards of the tokens that are kept."""
    before = np.pad(responses[:, :-1], ((0, 0), (1, 0)), constant_values=START)
    each = reward[np.arange(len(reward)), before, responses]
    return np.asarray(np.where(np.arange(len(reward)) < keep[:, None], each, 0).sum(axis=1))


def _last_kept(responses: Ints, keep: Ints) -> Ints:
    path = np.pad(responses, ((0, 0), (1, 0)), constant_values=START)
    return np.asarray(path[np.arange(len(path)), keep])


def _told(formula: Function) -> Function:
    """A formula in what was earned, the values, the responses and how many tokens are kept."""

    def left(reward: Floats, ref: Floats, responses: Ints, keep: Ints, *, beta: float) -> Any:
        values = _values_of(reward, ref, beta=beta)
        return formula(_earned(reward, responses, keep), values, responses, keep)

    return left


def _next_value(values: Floats, responses: Ints, keep: Ints) -> Any:
    """The value at the place kept last, of the token that stands there."""
    return values[np.maximum(keep - 1, 0), _last_kept(responses, keep)]


def _previous_value(values: Floats, responses: Ints, keep: Ints) -> Any:
    """The value at the place kept last, of the token before it."""
    early = np.maximum(keep - 1, 0)
    return values[early, _last_kept(responses, early)]


def _token_early(values: Floats, responses: Ints, keep: Ints) -> Any:
    """The value at the place of the cut, of the token before the one kept last."""
    return values[keep, _last_kept(responses, np.maximum(keep - 1, 0))]


def _best_alone(reward: Floats, ref: Floats, responses: Ints, keep: Ints, *, beta: float) -> Any:
    best = _backward()(reward, ref, beta=beta)
    return beta * _earned(np.where(ref > 0, _log(best), 0), responses, keep)


def _wrapped(values: Floats, responses: Ints, keep: Ints) -> Any:
    return values[keep, responses[np.arange(len(keep)), keep - 1]]


def _whole(reward: Floats, ref: Floats, responses: Ints, keep: Ints, *, beta: float) -> Any:
    everything = np.full(len(keep), len(reward))
    return _of_beginnings(reward, ref, responses, everything, beta=beta)


def _best_row_only(reward: Floats, ref: Floats, responses: Ints, keep: Ints, *, beta: float) -> Any:
    greedy = _backward(later=0.0)(reward, ref, beta=beta)
    table = np.where(ref > 0, _log(greedy) - np.where(ref > 0, _log(ref), 0), 0)
    return beta * _earned(table, responses, keep)


def _earned_elsewhere(more: int) -> Function:
    """The rewards of more or fewer tokens, with the value where the cut is."""

    def left(reward: Floats, ref: Floats, y: Ints, keep: Ints, *, beta: float) -> Any:
        right = _of_beginnings(reward, ref, y, keep, beta=beta)
        return right - _earned(reward, y, keep) + _earned(reward, y, keep + more)

    return left


def _of_kept_length(reward: Floats, ref: Floats, y: Ints, keep: Ints, *, beta: float) -> Any:
    """As if responses had no more tokens than are kept."""
    rows = ((k, row[None, :k]) for k, row in zip(keep, y, strict=True))
    return np.array(
        [
            _of_beginnings(reward[:k], ref[:k], row, np.array([k]), beta=beta)[0] if k else 0.0
            for k, row in rows
        ]
    )


def _rows_for_columns(reward: Floats, ref: Floats, y: Ints, keep: Ints, *, beta: float) -> Any:
    right = _of_beginnings(reward, ref, y, keep, beta=beta)
    return right - _earned(reward, y, keep) + _earned(reward.transpose(0, 2, 1), y, keep)


def _after_itself(reward: Floats, ref: Floats, y: Ints, keep: Ints, *, beta: float) -> Any:
    best, place = _backward()(reward, ref, beta=beta), np.arange(len(ref))
    ratio = np.where(ref > 0, _log(best) - np.where(ref > 0, _log(ref), 0), 0)
    return beta * np.where(place < keep[:, None], ratio[place, y, y], 0).sum(axis=1)


def _beginnings(rng: np.random.Generator) -> list[Case]:
    """Nothing kept, something, everything; whole responses; ends that are lost."""
    every = [(2, 2, 1.0), (3, 3, 0.5), (4, 2, 2.0)]
    worlds = []
    for places, tokens, beta in every:
        responses = rng.integers(0, tokens, size=(places + 2, places))
        responses[0, -1] = tokens - 1
        keep = np.append(np.arange(places + 1), places - 1)
        reward = rng.normal(size=(places, tokens, tokens))
        worlds.append(case(reward, _drawn(rng, places, tokens), responses, keep, beta=beta))
    reward = rng.normal(size=(4, 3, 3))
    reward[:, -1] = 0
    ended = np.array([[2, 2, 2, 2], [0, 2, 2, 2], [1, 0, 2, 2], [1, 0, 2, 2], [0, 1, 1, 0]])
    keep = np.array([0, 1, 2, 3, 2])
    return [*worlds, case(reward, _drawn(rng, 4, 3, ends=True), ended, keep, beta=0.4)]


cut_reward = function_task(
    "cut_reward",
    truth=_of_beginnings,
    cases=_beginnings,
    mistakes={
        "this is the reward of the whole response: only the first `keep` tokens are counted.": (
            _whole
        ),
        "these are token rewards: a log-ratio also holds what may follow, and what was expected.": (
            _told(lambda earned, values, y, keep: earned)
        ),
        "what may follow is forgotten: add the value after the last token kept.": _told(
            lambda earned, values, y, keep: earned - values[0, START]
        ),
        "what was expected at the start is to be subtracted: beta log Z.": _told(
            lambda earned, values, y, keep: earned + values[keep, _last_kept(y, keep)]
        ),
        "this is the last token's value only: rewards were earned on the way.": _told(
            lambda earned, values, y, keep: values[keep, _last_kept(y, keep)] - values[0, START]
        ),
        "the value is one place early: after `keep` tokens it is that of place `keep`, and of the "
        "token kept last.": OneOf(
            _told(
                lambda earned, values, y, keep, of=of: (
                    earned + of(values, y, keep) - values[0, START]
                )
            )
            for of in (_next_value, _previous_value, _token_early)
        ),
        "the value is that after the token kept last, not after token 0.": _told(
            lambda earned, values, y, keep: earned + values[keep, START] - values[0, START]
        ),
        "the value is that after the token kept last, not after the first one that is lost.": _told(
            lambda earned, values, y, keep: (
                earned
                + values[keep, y[np.arange(len(keep)), np.minimum(keep, y.shape[1] - 1)]]
                - values[0, START]
            )
        ),
        "the rewards of all tokens are added up here: those of the first `keep` are earned.": (
            lambda reward, ref, y, keep, *, beta: _earned_elsewhere(len(reward))(
                reward, ref, y, keep, beta=beta
            )
        ),
        "rows and columns: in reward[t, s, a] the token before comes first.": _rows_for_columns,
        "this is the best policy of responses with `keep` tokens: pi* was trained on whole ones.": (
            _of_kept_length
        ),
        "this is the part that was cut off: the first `keep` tokens are counted.": (
            lambda reward, ref, y, keep, *, beta: (
                _whole(reward, ref, y, keep, beta=beta)
                - _of_beginnings(reward, ref, y, keep, beta=beta)
            )
        ),
        "the reference is missing: a reward is a log-ratio.": _best_alone,
        "these are ratios: a reward is beta times their logarithm.": OneOf(
            lambda reward, ref, y, keep, *, beta, by_beta=by_beta: (
                (beta if by_beta else 1)
                * np.exp(_of_beginnings(reward, ref, y, keep, beta=beta) / beta)
            )
            for by_beta in (True, False)
        ),
        "the whole reward is shared out by the number of tokens: each has its own part.": (
            lambda reward, ref, y, keep, *, beta: (
                _whole(reward, ref, y, keep, beta=beta) * keep / len(reward)
            )
        ),
        "where no token is kept, index -1 is the last one: the token before is 0, and it is 0.": (
            _told(
                lambda earned, values, y, keep: (
                    earned + _wrapped(values, y, keep) - values[0, START]
                )
            )
        ),
        "the values' sign: add what may follow, subtract what was expected.": _told(
            lambda earned, values, y, keep: (
                earned - values[keep, _last_kept(y, keep)] + values[0, START]
            )
        ),
        "this is in nats: times beta it is a reward.": (
            lambda reward, ref, y, keep, *, beta: (
                _of_beginnings(reward, ref, y, keep, beta=beta) / beta
            )
        ),
        "the sign: a reward is beta log of policy over reference.": (
            lambda reward, ref, y, keep, *, beta: -_of_beginnings(reward, ref, y, keep, beta=beta)
        ),
        "divided by the tokens kept: a log-probability is a sum.": (
            lambda reward, ref, y, keep, *, beta: (
                _of_beginnings(reward, ref, y, keep, beta=beta) / np.maximum(keep, 1)
            )
        ),
        "this policy is greedy, the best for each token's own reward: pi* looks ahead.": (
            _best_row_only
        ),
        "each response is cut at its own place: this cuts all where the first is cut.": (
            lambda reward, ref, y, keep, *, beta: _of_beginnings(
                reward, ref, y, 0 * keep + keep[0], beta=beta
            )
        ),
        "one token too few is counted: `keep` says how many are.": OneOf(
            [
                lambda reward, ref, y, keep, *, beta: _of_beginnings(
                    reward, ref, y, np.maximum(keep - 1, 0), beta=beta
                ),
                _earned_elsewhere(-1),
            ]
        ),
        "one token too many is counted: `keep` says how many are.": OneOf(
            [
                lambda reward, ref, y, keep, *, beta: _of_beginnings(
                    reward, ref, y, np.minimum(keep + 1, len(ref)), beta=beta
                ),
                _earned_elsewhere(1),
            ]
        ),
        "these are the last `keep` tokens: the first ones are counted.": (
            lambda reward, ref, y, keep, *, beta: (
                _whole(reward, ref, y, keep, beta=beta)
                - _of_beginnings(reward, ref, y, len(ref) - keep, beta=beta)
            )
        ),
        "this is the last token kept alone: all that are kept add up.": (
            lambda reward, ref, y, keep, *, beta: (
                _of_beginnings(reward, ref, y, keep, beta=beta)
                - _of_beginnings(reward, ref, y, np.maximum(keep - 1, 0), beta=beta)
            )
        ),
        "what was expected is the value at place 0 after token 0, and no other.": OneOf(
            _told(
                lambda earned, values, y, keep, of=of: (
                    earned + values[keep, _last_kept(y, keep)] - of(values[0], y)
                )
            )
            for of in (lambda start, y: start.mean(), lambda start, y: start[y[:, 0]])
        ),
        "the values have the unit of the reward: they are not divided by beta.": (
            lambda reward, ref, y, keep, *, beta: (
                (_of_beginnings(reward, ref, y, keep, beta=beta) - _earned(reward, y, keep)) / beta
                + _earned(reward, y, keep)
            )
        ),
        "the token before stands one place earlier: this takes each token for its own.": (
            _after_itself
        ),
    },
)
