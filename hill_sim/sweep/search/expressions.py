"""Small expressions in a sweep's YAML: constraints between a candidate's fields, and on its outcome.

    interactions[-1] <= epochs - 5
    alpha + lam < 1 and len(policy) == len(interactions)
    worst(negative_flips) <= 0.02

Python's grammar, of which only names, numbers, strings, lists, arithmetic, comparisons, `and`, `or`, `not`, `in`,
indices and a handful of functions are read. Nothing is ever passed to `eval`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hill_sim.errors import InvalidInput

FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "len": len, "max": max, "min": min, "sum": sum}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


@dataclass(frozen=True)
class Expression:
    """A checked expression over named values.

    Example:
        >>> Expression.parse("2 * alpha <= user.effort[0]").holds({"alpha": 0.5, "user": {"effort": [1]}}.get)
        True
    """

    text: str
    tree: ast.expr
    names: frozenset[str]

    @classmethod
    def parse(cls, text: object) -> Expression:
        """Raises ValueError, naming the part that is not allowed."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{text!r} is not an expression such as 'alpha + lam <= 1'")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            _depth(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ValueError(f"{text[:80]!r} cannot be read as an expression such as 'alpha + lam <= 1'") from None
        return cls(text.strip(), tree, frozenset(_names(tree, text)))

    def value(self, lookup: Callable[[str], Any]) -> Any:
        """Its value, where `lookup` gives that of a top-level name.

        Raises:
            InvalidInput: operands that do not fit, an index or a name that is not there.
        """
        try:
            return _value(self.tree, lookup)
        except (TypeError, KeyError, IndexError, ZeroDivisionError, OverflowError, ValueError) as error:
            raise InvalidInput(f"{self.text!r}: {type(error).__name__}: {error}") from None

    def holds(self, lookup: Callable[[str], Any]) -> bool:
        return bool(self.value(lookup))


def _depth(tree: ast.expr) -> None:
    """Raises ValueError for a tree too deep to be walked: nobody writes one by hand."""
    level: list[ast.AST] = [tree]
    for _ in range(100):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise ValueError("too deep")


def dotted(node: ast.expr) -> str | None:
    """`user.motor_noise` for the tree of that name; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := dotted(node.value)):
        return f"{head}.{node.attr}"
    return None


def _names(node: ast.expr, text: str) -> Iterator[str]:
    """The dotted names in a tree, after checking that all of it is allowed."""
    if name := dotted(node):
        yield name
        return
    allowed = False
    inner: list[ast.expr] = []
    match node:
        case ast.Constant(value=value):
            allowed = isinstance(value, int | float | str) or value is None
        case ast.List(elts=inner) | ast.Tuple(elts=inner):
            allowed = True
        case ast.BinOp(left=left, op=op, right=right):
            allowed, inner = type(op) in _BINARY, [left, right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
            allowed, inner = True, [operand]
        case ast.BoolOp(values=inner):
            allowed = True
        case ast.Compare(left=left, ops=ops, comparators=others):
            allowed, inner = all(type(op) in _COMPARE for op in ops), [left, *others]
        case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
            allowed, inner = True, [value, index]
        case ast.Call(func=ast.Name(id=name), args=inner, keywords=[]):
            if name not in FUNCTIONS:
                raise ValueError(f"{text!r}: unknown function {name!r} (allowed: {', '.join(FUNCTIONS)})")
            allowed = True
    if not allowed:
        raise ValueError(f"{text!r}: {ast.unparse(node)!r} is not allowed in an expression")
    for part in inner:
        yield from _names(part, text)


def _value(node: ast.expr, lookup: Callable[[str], Any]) -> Any:
    def of(part: ast.expr) -> Any:
        return _value(part, lookup)

    match node:
        case ast.Name(id=name):
            return lookup(name)
        case ast.Attribute(value=whole, attr=attribute):
            inside = of(whole)
            if not isinstance(inside, Mapping) or attribute not in inside:
                raise KeyError(f"{ast.unparse(node)} is not set")
            return inside[attribute]
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [of(item) for item in items]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_number(of(left)), _number(of(right)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not of(operand)
        case ast.UnaryOp(op=sign, operand=operand):
            return -_number(of(operand)) if isinstance(sign, ast.USub) else _number(of(operand))
        case ast.BoolOp(op=both, values=values):
            return all(of(v) for v in values) if isinstance(both, ast.And) else any(of(v) for v in values)
        case ast.Compare(left=left, ops=ops, comparators=others):
            a = of(left)
            for comparison, other in zip(ops, others, strict=True):
                b = of(other)
                if not _COMPARE[type(comparison)](a, b):
                    return False
                a = b
            return True
        case ast.Subscript(value=whole, slice=index):
            return of(whole)[of(index)]
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return FUNCTIONS[name](*(of(argument) for argument in arguments))
    raise AssertionError(ast.dump(node))  # `parse` lets nothing else through


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value
