"""Conditions on columns, such as ``result == 'R' and duration > 0.5``: parsed, never evaluated as Python."""

from __future__ import annotations

import ast
import operator
from typing import Any

import numpy as np

from lfads_tf2.recordings.recording import RecordingError, Table

_COMPARE = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
LONGEST = 1000


def chosen(expression: str, table: Table, what: str) -> np.ndarray:
    """Which rows of a table fulfil a condition, as booleans.

    Comparisons, ``in [..]``, ``and``, ``or``, ``not``, numbers, texts and names of columns are understood.

    Raises:
        RecordingError: anything else, a column that is not there, or a comparison that makes no sense.
    """
    if not expression.strip():
        return np.ones(len(table), bool)
    try:
        if len(expression) > LONGEST:
            raise SyntaxError(f"longer than {LONGEST} characters")
        tree = ast.parse(expression, mode="eval").body
        found = np.asarray(_value(tree, table, what))
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(
            f"{expression!r} is no condition on {what} ({error}); write such as \"result == 'R' and duration > 0.5\""
        ) from None
    if found.dtype != bool or found.shape not in ((), (len(table),)):
        raise RecordingError(f"{expression!r} says neither yes nor no of each row of {what}; compare a column")
    return np.broadcast_to(found, len(table)).copy()


def names_in(expression: str) -> list[str]:
    """Columns that a condition names; none where it cannot be read, of which ``chosen`` says why."""
    try:
        nodes = ast.walk(ast.parse(expression.strip() or "0", mode="eval"))
        return [ast.unparse(node) for node in nodes if isinstance(node, ast.Name | ast.Attribute)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _value(node: ast.AST, table: Table, what: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return node.value
    if isinstance(node, ast.Name):
        return {"nan": np.nan}.get(node.id) if node.id == "nan" else table.column(node.id, what)
    if isinstance(node, ast.Attribute):  # struct.field
        return table.column(ast.unparse(node), what)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, table, what)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_booleans(node.operand, table, what)
    if isinstance(node, ast.BoolOp):
        parts = [_booleans(part, table, what) for part in node.values]
        return np.logical_and.reduce(parts) if isinstance(node.op, ast.And) else np.logical_or.reduce(parts)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(part, table, what) for part in node.elts]
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        results = [
            _compared(op, _value(a, table, what), _value(b, table, what))
            for op, a, b in zip(node.ops, sides, sides[1:], strict=False)
        ]
        return np.logical_and.reduce(results)
    raise SyntaxError(f"{type(node).__name__} is not understood")


def _booleans(node: ast.AST, table: Table, what: str) -> np.ndarray:
    value = np.asarray(_value(node, table, what))
    if value.dtype != bool:
        raise TypeError("and, or and not need comparisons")
    return value


def _compared(op: ast.cmpop, left: Any, right: Any) -> np.ndarray:
    if isinstance(op, ast.In | ast.NotIn):
        for one in right if isinstance(right, list) else [right]:
            _check_kinds(left, one)
        found = np.isin(np.asarray(left), np.asarray(right))
        return ~found if isinstance(op, ast.NotIn) else found
    if type(op) not in _COMPARE:
        raise SyntaxError(f"{type(op).__name__} is not understood")
    _check_kinds(left, right)
    return np.asarray(_COMPARE[type(op)](np.asarray(left), np.asarray(right)), bool)


def _check_kinds(left: Any, right: Any) -> None:
    """Raises TypeError where a text is compared with a number: they are never equal, whatever was meant."""
    texts = [np.asarray(side).dtype.kind in "UO" for side in (left, right)]
    if texts[0] != texts[1]:
        raise TypeError("a text is compared with a number")
