"""Constraints in YAML: they mean what they mean in Python, and nothing else is ever run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hill_sim.errors import InvalidInput
from hill_sim.sweep.search.expressions import Expression

FIELDS: dict[str, Any] = {
    "alpha": 0.5, "lam": 0.25, "epochs": 45, "interactions": [25, 30, 35], "policy": "hold", "user": {"effort": 3},
}  # fmt: skip


@pytest.mark.parametrize("text", [
    "alpha + lam <= 1", "alpha + lam < 0.75", "interactions[-1] <= epochs - 5", "len(interactions) == 3",
    "policy in ['hold', 'random']", "not policy == 'hold' or alpha > 0.9", "0 < alpha < 1 < epochs // 7 % 5",
    "max(interactions) - min(interactions) == 10", "sum(interactions) / 3 == 30", "abs(-lam) == +lam", "policy != None",
    "25 not in interactions and 2 * alpha >= 1",
])  # fmt: skip
def test_expressions_mean_what_they_mean_in_python(text: str) -> None:
    functions = {"abs": abs, "len": len, "max": max, "min": min, "sum": sum}
    expected = eval(text, {"__builtins__": {}, **functions}, dict(FIELDS))
    assert Expression.parse(text).value(FIELDS.__getitem__) == expected
    assert Expression.parse(text).holds(FIELDS.__getitem__) is bool(expected)


NUMBERS = st.recursive(
    st.sampled_from(["alpha", "lam", "epochs", "1", "2.5", "-3"]),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=12,
)


@given(NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS)
def test_arithmetic_and_comparisons_are_pythons(left: str, sign: str, right: str) -> None:
    text = f"{left} {sign} {right}"
    assert Expression.parse(text).value(FIELDS.__getitem__) is eval(text, {"__builtins__": {}}, dict(FIELDS))


def test_names_inside_options_are_dotted() -> None:
    expression = Expression.parse("user.effort + alpha < 4")
    assert expression.names == {"user.effort", "alpha"}
    assert expression.holds(FIELDS.__getitem__)
    with pytest.raises(InvalidInput, match=r"user\.noise is not set"):
        Expression.parse("user.noise < 4").holds(FIELDS.__getitem__)


@pytest.mark.parametrize("text", [
    "__import__('os').system('true')", "alpha.__class__.__mro__[0]()", "(lambda: 1)()", "[x for x in interactions]",
    "alpha if lam else 1", "10 ** 10 ** 10", "f'{alpha}'", "alpha := 1", "interactions[0:1]", "open('/etc/passwd')",
    "len(*interactions)", "max(1, key=len)", "{1: 2}", "b'x'", "1j", "alpha is None", "1 << 99", "~1",
    "...", "True @ 2",
])  # fmt: skip
def test_nothing_else_is_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"not allowed|unknown function|cannot be read"):
        Expression.parse(text)


@pytest.mark.parametrize(
    "text", ["", "  ", None, 3, ["alpha"], "alpha <", "a b", "((((", "1" + "+1" * 5000, "(" * 5000]
)
def test_what_is_no_expression_is_said_in_one_line(text: Any) -> None:
    with pytest.raises(ValueError, match=r"is not an expression|cannot be read as an expression") as caught:
        Expression.parse(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("text", "why"), [
    ("alpha / 0 > 1", "division"), ("interactions[9] > 1", "index"), ("policy + 1 > 2", "is not a number"),
    ("alpha < 'x'", "not supported"), ("len(alpha) > 1", "has no len"),
    ("policy * 1000000000 == ''", "is not a number"),
])  # fmt: skip
def test_operands_that_do_not_fit_are_named(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        Expression.parse(text).holds(FIELDS.__getitem__)
    assert repr(text) in str(caught.value)
