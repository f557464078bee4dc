"""Plain data: what passes between the processes comes back the same, and nothing else passes."""

import json
from collections import OrderedDict, deque
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from course import STEMS, tasks

from dpo_edu.grading import known
from dpo_edu.symbolic import derivative, i, k, n, objective, p, q, r, total, β
from tools import plain


def sent(value: Any) -> Any:
    """A value after it was written, sent and read."""
    return plain.read(json.loads(json.dumps(plain.written(value, []))), lambda number, *_: number)


PLAIN = [
    None,
    ...,
    True,
    0,
    -7,
    0.1,
    float("inf"),
    "words",
    (1, 2.5),
    [1, [2, "x"]],
    {1, 2},
    {"A": (1, 2), 3: None},
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_come_back_the_same(value: Any) -> None:
    assert sent(value) == value and type(sent(value)) is type(value)


ARRAYS = [
    np.array([[0.1, np.nan], [np.inf, -0.0]]),
    np.float32([0.1, 2]),
    np.arange(6).reshape(2, 3),
    np.zeros((2, 0)),
    np.array([True, False]),
    np.array(["first", "open"]),
    np.array(3.5),
]


@pytest.mark.parametrize("value", ARRAYS, ids=repr)
def test_arrays_come_back_with_their_shape_and_kind(value: np.ndarray) -> None:
    back = sent(value)
    assert back.dtype == value.dtype and back.shape == value.shape
    assert back.tobytes() == value.tobytes()


@pytest.mark.parametrize("value", [np.float32(0.1), np.str_("x"), np.bool_(True), np.int8(3)])
def test_numpys_scalars_stay_numpys(value: Any) -> None:
    assert sent(value) == value and type(sent(value)) is type(value)


def test_arrays_of_objects_keep_what_is_plain_in_them() -> None:
    back = sent(np.array([[1, None], ["x", sp.Rational(1, 3)]], dtype=object))
    assert back.tolist() == [[1, None], ["x", sp.Rational(1, 3)]]


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        (Fraction(1, 4), 0.25),
        (range(3), [0, 1, 2]),
        (deque([1, 2]), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
    ],
)
def test_what_a_grader_takes_for_numbers_passes_as_such(value: Any, passes: Any) -> None:
    assert sent(value) == passes


def test_a_matrix_passes_as_an_array() -> None:
    assert sent(sp.Matrix([[1, β]])).tolist() == sent(sp.ImmutableMatrix([[1, β]])).tolist()
    assert sent(sp.Matrix([[1, β]])).tolist() == [[1, β]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
def test_tensors_come_back_with_their_kind(dtype: torch.dtype) -> None:
    value = torch.tensor([[0, 1], [1, 0]]).to(dtype)
    assert torch.equal(sent(value), value) and sent(value).dtype == dtype


def test_a_tensor_says_whether_it_wants_gradients() -> None:
    value = torch.tensor([0.5], requires_grad=True)
    assert sent(value).requires_grad and not sent(value.detach()).requires_grad


def test_functions_are_numbered() -> None:
    kept: list[Any] = []
    data = plain.written({"B": len, "C": [print]}, kept)
    assert plain.read(data, lambda number, *_: kept[number]) == {"B": len, "C": [print]}


class Anything:
    pass


@pytest.mark.parametrize("value", [Anything(), 2j, np.array([2j]), b"x"])
def test_of_all_else_the_name_of_its_type_passes(value: Any) -> None:
    back = sent(value)
    assert isinstance(back, plain.Other)
    assert repr(back) == f"a value of type {type(value).__name__}"


# --- SymPy --------------------------------------------------------------------------------------

EXPRESSIONS = {
    sp.sympify(wrong)
    for stem in STEMS.values()
    for task in tasks(stem)
    for _, wrong in known(task.mistakes)
    if isinstance(wrong, sp.Expr)
} | {
    objective(),
    derivative(objective() + total(p[k]), p[k]),
    sp.Sum(p[i] * q[k], (i, 1, n)),
    0.1 * β + sp.Float("1e-300") - sp.oo * sp.I,
    sp.Piecewise((r[k], β > 1), (sp.pi, True)),
    sp.KroneckerDelta(i, k) + sp.Abs(r[1]),
    sp.Dummy("x", positive=True) + sp.Symbol("π*"),
    sp.Derivative(total(p[i]), p[k]) + sp.Limit(β / n, n, sp.oo) + sp.LambertW(β),
    sp.Subs(β / sp.Symbol("x"), sp.Symbol("x"), p[k]) + sp.Sum(q[sp.Idx("x")], (sp.Idx("x"), 1, n)),
    sp.Function("f")(p[k]),
}


@pytest.mark.parametrize("expression", sorted(EXPRESSIONS, key=str), ids=str)
def test_expressions_come_back_the_same(expression: sp.Expr) -> None:
    assert sent(expression) == expression


def test_many_expressions_were_tried() -> None:
    assert len(EXPRESSIONS) > 30


REFUSED = [
    "__import__('os').system('touch x')",
    "Symbol('x').__class__",
    "().__class__",
    "Symbol('x', positive=print)",
    "Symbol('x', rational_function=True)",
    "Symbol(Symbol('x'))",
    "Symbol('x' * 9)",
    "Lambda(Symbol('x'), Symbol('x'))",
    "Function('f')",
    "Lambda('f')(Symbol('x'))",
    "sympify('x')",
    "exp(x=1)",
    "Add(*[1])",
    "Integer('7')",
    "Integer(True)",
    f"Integer({10**61})",
    "Float('x', precision=53)",
    "Float('1', precision='x')",
    "lambda: 0",
    "[Symbol('x') for x in (1,)]",
    "x",
    "1",
    "Symbol('x'",
    "Symbol('x'); Symbol('y')",
    "exp(" * 5000 + "E" + ")" * 5000,
    "E + E",
    "Add(" + "E, " * 20_000 + "E)",
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_an_expression_is_nothing_else(text: str) -> None:
    with pytest.raises(plain.NotPlain):
        plain.read({"kind": "sympy", "text": text})


# --- what nobody writes -------------------------------------------------------------------------

MALFORMED = [
    {},
    {"kind": "bomb"},
    {"kind": ["array"]},
    {"kind": "tuple"},
    {"kind": "set", "items": [[1]]},
    {"kind": "dict", "items": [1]},
    {"kind": "sympy", "text": 7},
    {"kind": "function", "number": "x"},
    {"kind": "other", "type": None},
    {"kind": "array", "dtype": "<f8", "shape": [3], "items": [1.0]},
    {"kind": "array", "dtype": "<f8", "shape": [1], "items": ["x"]},
    {"kind": "array", "dtype": "<f8", "shape": [1], "items": [[1.0]]},
    {"kind": "array", "dtype": "<V8", "shape": [1], "items": [1.0]},
    {"kind": "array", "dtype": "<U99999", "shape": [1], "items": ["x"]},
    {"kind": "array", "dtype": "<f8", "shape": [1] * 9, "items": [1.0]},
    {"kind": "array", "dtype": "<f8", "shape": [-1, -1], "items": [1.0]},
    {"kind": "tensor", "dtype": "load", "array": {}, "grad": True},
    {"kind": "tensor", "dtype": "float32", "array": {"shape": []}, "grad": True},
]


@pytest.mark.parametrize("data", MALFORMED, ids=str)
def test_malformed_data_is_refused(data: plain.Json) -> None:
    with pytest.raises(plain.NotPlain):
        plain.read(data, lambda number, *_: number)


def test_data_without_bottom_are_refused() -> None:
    data: plain.Json = []
    for _ in range(100_000):
        data = [data]
    with pytest.raises(plain.NotPlain):
        plain.read(data)
    while data:  # freed from the outside, or Python would need as deep a stack
        (data,) = data


def test_functions_are_read_only_where_they_can_be_called() -> None:
    with pytest.raises(plain.NotPlain):
        plain.read({"kind": "function", "number": 0})


def test_a_name_that_is_no_name_is_none() -> None:
    assert type(plain.read({"kind": "other", "type": "x; y"})).__name__ == "object"
