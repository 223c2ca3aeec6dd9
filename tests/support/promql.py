"""Which metrics a PromQL expression asks for, and by which labels: enough of a reader to check rules and dashboards."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
      | (?P<variable>\$\w+|\$\{\w+\})
      | (?P<number>(?:\d+(?:ms|[smhdwy]))+|0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[a-zA-Z_][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|==|!=|>=|<=|[-+*/%^<>=(){}\[\],:@])
    """,
    re.VERBOSE,
)
_WITH_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
"""Keywords that label names in parentheses may follow."""

_KEYWORDS = {"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"} | _WITH_LABELS
_AGGREGATIONS = {
    *("sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile"),
}
"""What needs no parenthesis behind it to be no metric: `sum by (symbol) (…)`."""


def tokens(expression: str) -> list[tuple[str, str]]:
    """Kind and text of each token but spaces. Raises ValueError at what is no PromQL, with its place."""
    found = []
    place = 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None:
            raise ValueError(f"{expression!r}: no PromQL at {place}: {expression[place : place + 20]!r}")
        place = match.end()
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match.group()))
    return found


def selected(expression: str) -> list[tuple[str, frozenset[str]]]:
    """Each metric that the expression names, in order, with the labels that its selector names.

    Raises ValueError at what is no PromQL, and at a selector without a name, which could be anything.
    """
    found: list[tuple[str, frozenset[str]]] = []
    stream = tokens(expression)
    place = 0
    while place < len(stream):
        kind, text = stream[place]
        following = stream[place + 1][1] if place + 1 < len(stream) else ""
        place += 1
        if text == "{" and kind == "sign":
            raise ValueError(f"{expression!r}: a selector without a name")
        if kind != "name":
            continue
        if text.lower() in _WITH_LABELS and following == "(":
            place = _closing(stream, place, ")")
        elif text.lower() not in _KEYWORDS | _AGGREGATIONS and following != "(":
            labels: frozenset[str] = frozenset()
            if following == "{":
                end = _closing(stream, place, "}")
                labels = frozenset(name for kind, name in stream[place:end] if kind == "name")
                place = end
            found.append((text, labels))
    return found


def _closing(stream: list[tuple[str, str]], place: int, sign: str) -> int:
    """The place after the next such sign; strings are tokens of their own, and nothing is nested here."""
    while stream[place] != ("sign", sign):
        place += 1
    return place + 1
