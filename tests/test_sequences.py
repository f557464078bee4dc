"""Sequence spaces against plain enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpo_edu.sequences import LARGEST_SPACE, SequenceSpace

SPACES = st.builds(SequenceSpace, st.integers(1, 4), st.integers(1, 4), end_token=st.booleans())


def strings(space: SequenceSpace) -> list[tuple[int, ...]]:
    """The responses without padding, found by trying all strings."""
    end = space.vocabulary - 1 if space.end_token else None
    tokens = range(space.vocabulary)
    every = (s for n in range(1, space.length + 1) for s in itertools.product(tokens, repeat=n))
    whole = (s for s in every if (s[-1] == end or len(s) == space.length) and end not in s[:-1])
    return sorted(whole)


def written(space: SequenceSpace, node: int) -> tuple[int, ...]:
    """The prefix at a node, read upwards along the parents."""
    if space.depths[node] == 0:
        return ()
    return (*written(space, int(space.parents[node])), int(space.tokens[node]))


@given(space=SPACES)
def test_responses_are_all_legal_strings_once_in_lexicographic_order(space):
    found = [tuple(row[:n]) for row, n in zip(space.responses, space.lengths, strict=True)]
    assert found == strings(space)
    assert space.size == len(found)
    assert space.responses.shape == (space.size, space.length)
    assert space.responses.dtype == np.int64


@given(space=SPACES)
def test_places_after_an_end_token_hold_the_end_token(space):
    for row, n in zip(space.responses, space.lengths, strict=True):
        assert (row[n:] == space.vocabulary - 1).all()
        assert 1 <= n <= space.length


@given(space=SPACES)
def test_tree_holds_every_proper_prefix_of_a_response_once(space):
    nodes = [written(space, k) for k in range(space.prefixes)]
    assert nodes[0] == ()
    assert len(set(nodes)) == len(nodes)
    assert set(nodes) == {s[:n] for s in strings(space) for n in range(len(s))}
    assert space.depths.tolist() == [len(s) for s in nodes]


@given(space=SPACES)
def test_lineages_are_the_prefixes_of_a_prefix_and_itself_the_shortest_first(space):
    nodes = [written(space, k) for k in range(space.prefixes)]
    inner = [node for node in nodes if len(node) < space.length - 1]
    rows = [[nodes.index(node[:n]) for n in range(len(node) + 1)] for node in inner]
    padded = [row + [-1] * (space.length - 1 - len(row)) for row in rows]
    assert space.lineages.shape == (len(inner), space.length - 1)
    assert space.lineages.tolist() == padded


@given(space=SPACES)
def test_edges_name_the_prefix_and_the_token_of_every_place(space):
    place = {written(space, k): k for k in range(space.prefixes)}
    for string, edges in zip(strings(space), space.edges, strict=True):
        scored = [place[string[:t]] * space.vocabulary + string[t] for t in range(len(string))]
        padding = [space.prefixes * space.vocabulary] * (space.length - len(string))
        assert edges.tolist() == scored + padding


@given(space=SPACES, seed=st.integers(0, 99))
def test_any_next_token_probabilities_multiply_to_a_distribution(space, seed):
    rng = np.random.default_rng(seed)
    following = rng.dirichlet(np.ones(space.vocabulary), size=space.prefixes)
    probability = np.append(following, 1.0)[space.edges].prod(axis=1)
    assert math.isclose(probability.sum(), 1.0, abs_tol=1e-12)


def test_eight_tokens_of_length_four_need_585_prefixes():
    space = SequenceSpace(8, 4)
    assert (space.size, space.prefixes) == (4096, 585)


def test_closed_form_of_the_size_with_an_end_token():
    # Strings of 0, 1, ..., L - 1 of the v - 1 other tokens and an end, and those of L without one.
    space = SequenceSpace(5, 3, end_token=True)
    assert space.size == 1 + 4 + 4**2 + 4**3
    assert np.bincount(space.lengths).tolist() == [0, 1, 4, 4**2 + 4**3]


def test_long_thin_spaces_are_enumerated_without_all_strings():
    space = SequenceSpace(2, 70, end_token=True)
    assert space.size == 71
    assert space.lengths.max() == 70


def test_spaces_are_values_and_their_arrays_are_read_only():
    assert SequenceSpace(3, 2) == SequenceSpace(np.int64(3), 2)
    assert SequenceSpace(3, 2) != SequenceSpace(3, 2, end_token=True)
    assert len({SequenceSpace(3, 2), SequenceSpace(3, 2)}) == 1
    space = SequenceSpace(3, 2)
    for name in ("responses", "lengths", "depths", "tokens", "parents", "lineages", "edges"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(space, name)[:] = 0


@pytest.mark.parametrize("value", [0, -1, 1.5, "4", None, True])
@pytest.mark.parametrize("name", ["vocabulary", "length"])
def test_sizes_must_be_whole_numbers_above_zero(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected a whole number >= 1, got"):
        SequenceSpace(**({"vocabulary": 2, "length": 2} | {name: value}))


def test_end_token_must_be_a_bool():
    with pytest.raises(ValueError, match="end_token: expected True or False, got 3"):
        SequenceSpace(4, 4, end_token=3)


@pytest.mark.parametrize(("vocabulary", "length"), [(50_257, 1024), (8, 8), (1, LARGEST_SPACE + 1)])
def test_spaces_too_large_to_enumerate_are_refused(vocabulary, length):
    expected = f"at most 10,000,000 responses, got vocabulary {vocabulary} and length {length}"
    with pytest.raises(ValueError, match=expected):
        SequenceSpace(vocabulary, length)
