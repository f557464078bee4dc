"""Plain data, the language between the process that judges and the one that runs an answer.

What passes is JSON: numbers, texts, truth values, lists, tuples, sets, dictionaries, arrays,
tensors, SymPy expressions as text, and functions by number. Whoever reads it builds these and
nothing else; no name that was read is looked up or called unless it stands in a list here.
"""

import ast
import re
import sys
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from dpo_edu import _alike

Json = Any
# Of its number, whether it is the stub that was handed out, and what it calls of the package.
MakeFunction = Callable[[int, bool, str], Any]
DTYPES = re.compile(r"[<>|=](b1|[iu][1248]|f[248]|U\d{1,4})")
TENSORS = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
LONGEST_EXPRESSION = 50_000  # characters
LARGEST_INTEGER = 10**60
ASSUMPTIONS = re.compile(
    "algebraic|commutative|complex|even|extended_real|finite|integer|negative|noninteger|"
    "nonnegative|nonpositive|nonzero|odd|positive|prime|rational|real|zero"
)
HEADS = re.compile(
    "Abs|Add|And|Derivative|Equality|GreaterThan|Heaviside|Idx|Indexed|IndexedBase|Integral|"
    "KroneckerDelta|LambertW|LessThan|Limit|Max|Min|Mul|Not|Or|Piecewise|Pow|Product|"
    "StrictGreaterThan|StrictLessThan|Subs|Sum|Tuple|Unequality|cos|cosh|erf|exp|log|sign|sin|sinh|"
    "tan|tanh"
)
CONSTANTS = ["E", "I", "false", "nan", "oo", "pi", "true", "zoo"]


class NotPlain(ValueError):
    """A value that is no plain data; the message finishes a sentence about an answer."""


class Other:
    """Stands for a value that did not pass; its class has the name of that value's class."""

    def __repr__(self) -> str:
        return f"a value of type {type(self).__name__}"


# --- writing ------------------------------------------------------------------------------------


def written(value: Any, functions: list[Any]) -> Json:
    """A value as JSON; a function goes to the list of `functions` and passes as its place there."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if value is Ellipsis:
        return {"kind": "ellipsis"}
    if isinstance(value, list):
        return [written(item, functions) for item in value]
    for kind, types in (("tuple", tuple), ("set", set | frozenset)):
        if isinstance(value, types):
            return {"kind": kind, "items": [written(item, functions) for item in value]}
    if isinstance(value, dict):
        items = [[written(k, functions), written(v, functions)] for k, v in value.items()]
        return {"kind": "dict", "items": items}
    if isinstance(value, np.ndarray | np.generic):
        return _written_array(value, functions)
    torch, sympy = sys.modules.get("torch"), sys.modules.get("sympy")
    if torch is not None and isinstance(value, torch.Tensor):
        return _written_tensor(value)
    if hasattr(type(value), "__array__"):  # also SymPy's matrices
        return _written_array(np.asarray(value), functions)
    if sympy is not None and isinstance(value, sympy.Basic):
        return {"kind": "sympy", "text": sympy.srepr(value)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [written(item, functions) for item in value]
    if hasattr(type(value), "__float__"):  # fractions, numbers of other libraries
        return float(value)
    if callable(value):
        functions.append(value)
        noted = {"is_stub": _alike.is_stub(value), "borrowed": _alike.borrowed(value)}
        return {"kind": "function", "number": len(functions) - 1, **noted}
    return _written_other(value)


def _written_array(value: Any, functions: list[Any]) -> Json:
    array = np.asarray(value)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.dtype.kind == "O":
        dtype, items = "O", [written(item, functions) for item in array.ravel()]
    elif DTYPES.fullmatch(array.dtype.str):
        dtype, items = array.dtype.str, array.ravel().tolist()
    else:
        return _written_other(value)
    kind = "scalar" if isinstance(value, np.generic) else "array"
    return {"kind": kind, "dtype": dtype, "shape": list(array.shape), "items": items}


def _written_tensor(value: Any) -> Json:
    tensor, name = value.detach().cpu(), str(value.dtype).removeprefix("torch.")
    if name in ("float16", "bfloat16"):
        tensor, name = tensor.float(), "float32"
    if name not in TENSORS or tensor.is_sparse:
        return _written_other(value)
    array = _written_array(tensor.numpy(), [])
    return {"kind": "tensor", "dtype": name, "array": array, "grad": bool(value.requires_grad)}


def _written_other(value: Any) -> Json:
    return {"kind": "other", "type": type(value).__name__}


# --- reading ------------------------------------------------------------------------------------


def read(data: Json, function: MakeFunction | None = None) -> Any:
    """The value that JSON stands for; `function` makes one of what is known of it.

    Raises
    ------
    NotPlain
        If it is not what `written` writes.
    """
    try:
        return _read(data, function)
    except NotPlain:
        raise
    except Exception as error:  # whatever stood there, it was nothing that `written` writes
        raise NotPlain(f"it cannot be handed over ({type(error).__name__})") from None


def _read(data: Json, function: MakeFunction | None) -> Any:
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return [_read(item, function) for item in data]
    kind = data["kind"]
    if kind == "ellipsis":
        return ...
    if kind in ("tuple", "set"):
        items = [_read(item, function) for item in data["items"]]
        return tuple(items) if kind == "tuple" else set(items)
    if kind == "dict":
        return {_read(key, function): _read(value, function) for key, value in data["items"]}
    if kind in ("array", "scalar"):
        return _read_array(data, function)
    if kind == "tensor":
        return _read_tensor(data)
    if kind == "sympy":
        return expression(data["text"])
    if kind == "function" and function is not None:
        return function(int(data["number"]), bool(data["is_stub"]), str(data["borrowed"])[:80])
    if kind == "other":
        return _read_other(data["type"])
    raise NotPlain(f"it cannot be handed over ({kind!r:.40})")


def _read_array(data: Json, function: MakeFunction | None) -> Any:
    shape, items, dtype = tuple(data["shape"]), data["items"], data["dtype"]
    if prod(shape) != len(items) or len(shape) > 8:
        raise NotPlain("it is an array without a shape")
    if dtype == "O":
        array = np.empty(len(items), dtype=object)
        array[:] = [_read(item, function) for item in items]
    elif DTYPES.fullmatch(dtype) and all(isinstance(x, bool | int | float | str) for x in items):
        array = np.array(items, dtype=dtype)
    else:
        raise NotPlain("it is an array of neither numbers nor texts")
    array = array.reshape(shape)
    return array[()] if data["kind"] == "scalar" else array


def _read_tensor(data: Json) -> Any:
    import torch  # only for who uses it

    if data["dtype"] not in TENSORS:
        raise NotPlain("it is a tensor of no numbers")
    array = np.asarray(_read_array(data["array"], None))
    tensor = torch.from_numpy(array.copy()).to(getattr(torch, data["dtype"]))
    return tensor.requires_grad_() if data["grad"] is True else tensor


def _read_other(name: str) -> Any:
    return type(name if re.fullmatch(r"[A-Za-z_]\w{0,60}", name) else "object", (Other,), {})()


# --- SymPy --------------------------------------------------------------------------------------


def expression(text: str) -> Any:
    """The SymPy expression that a text in the words of `sympy.srepr` stands for.

    Raises
    ------
    NotPlain
        If there is more in it than the symbols and functions listed here.
    """
    if len(text) > LONGEST_EXPRESSION:
        raise NotPlain(f"it is an expression of more than {LONGEST_EXPRESSION} characters")
    return _built(ast.parse(text, mode="eval").body)


def _built(node: ast.expr) -> Any:
    import sympy as sp

    match node:
        case ast.Call(ast.Name("Integer"), [number], []):
            return sp.Integer(_integer(number))
        case ast.Call(ast.Name("Rational"), [above, below], []):
            return sp.Rational(_integer(above), _integer(below))
        case ast.Call(ast.Name("Float"), [ast.Constant(str(digits))], [ast.keyword(_, bits)]):
            if re.fullmatch(r"-?[\d.]{1,400}(e[+-]?\d{1,4})?", digits):
                return sp.Float(digits, precision=min(_integer(bits), 1000))
        case ast.Call(ast.Name("Symbol" | "Dummy" | "_Bound" as kind), [ast.Constant(name)], facts):
            return _symbol(kind, name, {fact.arg: fact.value for fact in facts})
        case ast.Call(ast.Name(name), arguments, []) if HEADS.fullmatch(name):
            return getattr(sp, name)(*map(_built, arguments))
        case ast.Call(ast.Name("ExprCondPair"), [value, condition], []):
            return sp.Tuple(_built(value), _built(condition))
        case ast.Call(ast.Call(ast.Name("Function"), [ast.Constant(str(name))], []), given, []):
            return sp.Function(name[:60])(*map(_built, given))
        case ast.Call(ast.Name("_Reference"), [label], []):
            from dpo_edu import symbolic

            return type(symbolic.q)(_built(label))
        case ast.Name(name) if name in CONSTANTS:
            return getattr(sp, name)
        case ast.UnaryOp(ast.USub(), ast.Name("oo")):
            return -sp.oo
    what = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
    raise NotPlain(
        f"it is an expression with a {(what or type(node).__name__)[:40]} in it, which no answer "
        "needs"
    )


def _integer(node: ast.expr) -> int:
    number = ast.literal_eval(node)
    if type(number) is not int or abs(number) > LARGEST_INTEGER:
        raise NotPlain("it is an expression with a number of more than 60 digits")
    return number


def _symbol(kind: str, name: Any, facts: dict[str | None, ast.expr]) -> Any:
    import sympy as sp

    from dpo_edu import symbolic

    known = {fact: ast.literal_eval(value) for fact, value in facts.items()}
    number = {"dummy_index": known.pop("dummy_index")} if kind == "Dummy" else {}
    plain = all(ASSUMPTIONS.fullmatch(f) and type(value) is bool for f, value in known.items())
    if not (plain and isinstance(name, str) and len(name) <= 60):
        raise NotPlain("it is an expression with a symbol that is none")
    maker = {"Symbol": sp.Symbol, "Dummy": sp.Dummy, "_Bound": symbolic._Bound}[kind]
    return maker(name, **number, **known)
