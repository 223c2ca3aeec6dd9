"""The reader of PromQL that checks rules and dashboards."""

from __future__ import annotations

import pytest

from support.promql import selected


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ("up == 0 or absent(up)", {"up": set()}),
        ('sum by (symbol, le) (rate(a_bucket{symbol=~"$symbol", x!="b{c}"}[5m]))', {"a_bucket": {"symbol", "x"}}),
        ("sum(rate(a[1h30m])) without (b)", {"a": set()}),
        ("time() - a > on (job) group_left () 3 * b and on(job) c > bool 1e3", {"a": set(), "b": set(), "c": set()}),
        ("histogram_quantile(0.99, rate(a[$__rate_interval] offset 5m)) / b", {"a": set(), "b": set()}),
        ("max_over_time(a:b[1h:5m]) unless ignoring (x, y) c{} # and d", {"a:b": set(), "c": set()}),
        ("sum * count", {}),  # no metric of ours is called so
        ("a > NaN or b < +Inf", {"a": set(), "b": set()}),
        ("topk(3, a{b='c'}) == 0x1F", {"a": {"b"}}),
    ],
)
def test_metrics_and_their_labels_are_found(expression: str, metrics: dict[str, set[str]]) -> None:
    """Metrics and their labels are found. Functions, keywords, grouping labels and strings are not mistaken for metrics."""
    assert {name: set(labels) for name, labels in selected(expression)} == metrics


def test_an_ambiguous_expression_is_rejected() -> None:
    """An expression that may select anything is an error, not unchecked."""
    for expression in ('{job="a"}', "a ? b", 'a{b="c}'):
        with pytest.raises(ValueError, match=r"no PromQL|without a name"):
            selected(expression)
