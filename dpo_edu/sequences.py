"""Every response over a small vocabulary, and the tree of their prefixes.

A response is a string of at most `length` tokens. The prefixes form a tree: scoring each prefix
once gives the next-token probabilities of all responses (585 prefixes for 8 tokens and length 4,
where scoring the 4,096 responses one by one would take 16,384).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dpo_edu import _checks
from dpo_edu._checks import Ints

# An enumerated space is for truth by brute force; beyond this it no longer fits in memory.
LARGEST_SPACE = 10_000_000

Array = TypeVar("Array", bound=NDArray[Any])


def _strings(symbols: int, length: int) -> Ints:
    """All strings of `length` symbols, in lexicographic order: ``(symbols**length, length)``."""
    place = symbols ** np.arange(length - 1, -1, -1, dtype=np.int64)
    return np.arange(symbols**length, dtype=np.int64)[:, None] // place % symbols


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class SequenceSpace:
    """All responses of at most `length` tokens, enumerated in lexicographic order.

    Without an end token every response has exactly `length` tokens. With one, the last token of the
    vocabulary ends a response: it occurs only as the last token, and a response without it has
    `length` tokens. Either way the next-token probabilities of any autoregressive policy multiply
    to probabilities that sum to 1 over the space.

    Parameters
    ----------
    vocabulary : number of tokens >= 1, the end token included; tokens are 0 .. vocabulary - 1.
    length : longest response >= 1, in tokens.
    end_token : whether token ``vocabulary - 1`` ends a response.

    Raises
    ------
    ValueError
        If `vocabulary` or `length` is not a whole number >= 1, `end_token` not a bool, or the space
        has more than 10^7 responses.

    Source: claim T2.

    >>> SequenceSpace(8, 4).size, SequenceSpace(8, 4).prefixes
    (4096, 585)
    >>> SequenceSpace(2, 2, end_token=True).responses.tolist()
    [[0, 0], [0, 1], [1, 1]]
    """

    vocabulary: int
    length: int
    end_token: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("vocabulary", "length"):
            object.__setattr__(self, name, _checks.positive_int(name, getattr(self, name)))
        if not isinstance(self.end_token, (bool, np.bool_)):
            raise _checks.error("end_token", "True or False", repr(self.end_token))
        if max(self.length, self.size) > LARGEST_SPACE:
            got = f"vocabulary {self.vocabulary} and length {self.length}"
            raise _checks.error("vocabulary, length", f"at most {LARGEST_SPACE:,} responses", got)

    @property
    def branching(self) -> int:
        """Number of tokens that do not end a response."""
        return self.vocabulary - int(self.end_token)

    @cached_property
    def level_sizes(self) -> tuple[int, ...]:
        """Number of prefixes of 0, 1, ..., length - 1 tokens."""
        return tuple(self.branching**depth for depth in range(self.length))

    @property
    def prefixes(self) -> int:
        """Number of nodes of the prefix tree: strings that another token can follow."""
        return sum(self.level_sizes)

    @cached_property
    def size(self) -> int:
        """Number of responses Y."""
        ended = self.prefixes if self.end_token else 0
        return int(self.branching**self.length + ended)

    @cached_property
    def responses(self) -> Ints:
        """The responses, int64 ``(Y, length)``; places after an end token hold the end token."""
        full = [_strings(self.branching, self.length)]
        end = self.vocabulary - 1
        for depth in range(self.length) if self.end_token else ():
            begun = _strings(self.branching, depth)
            full.append(np.pad(begun, ((0, 0), (0, self.length - depth)), constant_values=end))
        together = np.concatenate(full)
        return _frozen(together[np.lexsort(together.T[::-1])])

    @cached_property
    def lengths(self) -> Ints:
        """Number of tokens of each response, the end token included: ``(Y,)``."""
        if not self.end_token:
            return _frozen(np.full(self.size, self.length))
        going_on = (self.responses != self.vocabulary - 1).sum(axis=1)
        return _frozen(np.minimum(going_on + 1, self.length))

    @cached_property
    def depths(self) -> Ints:
        """Number of tokens of each prefix, ``(prefixes,)``; the root, of none, comes first."""
        return _frozen(np.repeat(np.arange(self.length), self.level_sizes))

    @cached_property
    def tokens(self) -> Ints:
        """Last token of each prefix, ``(prefixes,)``; -1 at the root, which has none."""
        last = [np.arange(size) % self.branching for size in self.level_sizes[1:]]
        return _frozen(np.concatenate([np.array([-1]), *last]))

    @cached_property
    def parents(self) -> Ints:
        """Index of each prefix without its last token, ``(prefixes,)``; the root is its own."""
        starts = np.cumsum((0, *self.level_sizes))
        above = [
            starts[depth] + np.arange(size) // self.branching
            for depth, size in enumerate(self.level_sizes[1:])
        ]
        return _frozen(np.concatenate([np.array([0]), *above]))

    @cached_property
    def lineages(self) -> Ints:
        """The ancestors of each prefix that another extends, and itself, ``(inner, length - 1)``.

        From the root downwards; places below the prefix itself hold -1.
        """
        place = np.arange(self.prefixes - self.level_sizes[-1])
        rows = np.full((self.length - 1, len(place)), -1)
        for depth in reversed(range(len(rows))):
            here = self.depths[place] == depth
            rows[depth, here] = place[here]
            place[here] = self.parents[place[here]]
        return _frozen(rows.T)

    @cached_property
    def edges(self) -> Ints:
        """Where each token of a response is scored: ``prefix vocabulary + token``, ``(Y, length)``.

        Places after an end token hold ``prefixes vocabulary``, one past the last score.
        """
        starts = np.cumsum((0, *self.level_sizes))[: self.length]
        place = np.zeros((self.size, self.length), dtype=np.int64)
        for t in range(1, self.length):
            place[:, t] = place[:, t - 1] * self.branching + self.responses[:, t - 1]
        scored = (starts + place) * self.vocabulary + self.responses
        inside = np.arange(self.length) < self.lengths[:, None]
        return _frozen(np.where(inside, scored, self.prefixes * self.vocabulary))
