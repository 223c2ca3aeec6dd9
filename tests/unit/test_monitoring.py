"""Rules, dashboard and runbook agree with what the daemon exposes, and with each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cowbook.cluster.nodes import ShardTask
from cowbook.cluster.overview import ClusterMetrics
from cowbook.cluster.shard_watch import ShardWatch
from cowbook.telemetry.metrics import ServiceMetrics
from support.fake_cluster import part_of
from support.promql import selected

REPOSITORY = Path(__file__).resolve().parents[2]
PROMETHEUS = REPOSITORY / "config" / "prometheus"
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((REPOSITORY / "config" / "grafana" / "cowbook.json").read_text())

_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}
_OF_PROMETHEUS = {"up", "ALERTS"}
_OF_NODE_EXPORTER = {"node_filesystem_avail_bytes", "node_filesystem_size_bytes"}
"""Only the rules of the group cowbook-disk may ask for them."""
_TARGET_LABELS = {"job", "instance"}


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """The daemon's metrics by name, with the labels of their samples and of a target; without labels where there is no sample."""
    metrics = ServiceMetrics()
    metrics.symbol("BTCUSDT")
    names: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        names |= {family.name + suffix: set() for suffix in _SUFFIXES[family.type]}
        for sample in family.samples:
            names[sample.name] |= set(sample.labels) | _TARGET_LABELS
    return names


@pytest.fixture(scope="module")
def exposed_by_a_driver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """As `exposed`, of a driver of several machines with one shard."""
    metrics = ClusterMetrics()
    task = ShardTask(part_of(tmp_path_factory.mktemp("driver"), "BTCUSDT"))
    metrics.refresh([ShardWatch(task, None, 0.0)], (), 1.0)
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.name: set(sample.labels) | _TARGET_LABELS for sample in samples}


def load(name: str) -> Any:
    """One of Prometheus' files."""
    return yaml.safe_load((PROMETHEUS / name).read_text())


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each rule, with the name of its group."""
    for group in load("cowbook.rules.yml")["groups"]:
        for rule in group["rules"]:
            yield group["name"], rule


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels but rows, those inside of rows included."""
    every = [panel for outer in DASHBOARD["panels"] for panel in (outer, *outer.get("panels", ()))]
    return [panel for panel in every if panel["type"] != "row"]


def dashboard_expressions() -> list[str]:
    """Every expression of the dashboard: of panels, annotations and variables."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    found += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    for variable in DASHBOARD["templating"]["list"][1:]:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert match is not None
        found.append(f"count by ({match[2]}) ({match[1]})")
    assert json.dumps(DASHBOARD).count('"expr"') == sum(len(panel["targets"]) for panel in panels()) + 1
    return found


def check(expression: str, exposed: dict[str, set[str]], others: set[str]) -> None:
    """Every metric is exposed, and has every label that it is selected by, as far as it has samples before any event."""
    for name, labels in selected(expression):
        assert name in exposed.keys() | others, f"{name} is not exposed: {expression}"
        known = exposed.get(name)
        assert not known or labels <= known, f"{name} has no label {', '.join(labels - known)}: {expression}"


def test_metrics_of_rules(exposed: dict[str, set[str]], exposed_by_a_driver: dict[str, set[str]]) -> None:
    """Each rule asks for metrics that there are: of a service, or of a driver."""
    for group, rule in rules():
        own = exposed_by_a_driver if group == "cowbook-shards" else exposed
        check(rule["expr"], own, _OF_PROMETHEUS | (_OF_NODE_EXPORTER if group == "cowbook-disk" else set()))


def test_metrics_of_dashboard(exposed: dict[str, set[str]]) -> None:
    """Each expression of the dashboard asks for metrics that there are, and every metric of cowbook is on it."""
    expressions = dashboard_expressions()
    for expression in expressions:
        check(expression, exposed, _OF_PROMETHEUS)
    shown = {name for expression in expressions for name, _ in selected(expression)}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in exposed if name.startswith("cowbook_")}
    assert families == {re.sub("_(bucket|sum|count)$", "", name) for name in shown if name.startswith("cowbook_")}


def test_thresholds_of_histograms(exposed: dict[str, set[str]]) -> None:
    """A quantile is compared with the edge of a bucket: between two it would be guessed, above the last one never reached."""
    metrics = ServiceMetrics()
    metrics.symbol("BTCUSDT")
    compared = []
    for _, rule in rules():
        for name, threshold in re.findall(r"histogram_quantile\(.*?(\w+)_bucket.*\) > ([\d.]+)", rule["expr"]):
            edges = {
                float(sample.labels["le"])
                for family in metrics.registry.collect()
                if family.name == name
                for sample in family.samples
                if "le" in sample.labels
            }
            assert float(threshold) in edges
            assert max(edges - {float("inf")}) > float(threshold)
            compared.append(name)
    assert len(compared) == sum(rule["expr"].count("histogram_quantile") for _, rule in rules()) == 2
    assert {f"{name}_bucket" for name in compared} <= exposed.keys()


def test_form_of_rules() -> None:
    """Names, severities and annotations are as everywhere; the link leads to the alert's section."""
    names = [rule["alert"] for _, rule in rules()]
    assert len(set(names)) == len(names)
    for _, rule in rules():
        name, annotations = rule["alert"], rule["annotations"]
        assert re.fullmatch("Cowbook([A-Z][a-z]+)+", name)
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert annotations.keys() == {"summary", "description", "runbook_url"}
        assert "{{" not in annotations["summary"]
        assert "{{" in annotations["description"]
        assert annotations["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_runbook() -> None:
    """Each alert has a section, each section an alert; each state is explained, and each link leads somewhere."""
    sections = re.split(r"^### ", RUNBOOK, flags=re.MULTILINE)[1:]
    assert [section.split("\n", 1)[0] for section in sections] == [rule["alert"] for _, rule in rules()]
    for section in sections:
        assert all(f"\n{part}" in section for part in ("Look:", "Mend", "Lost:")), section.split("\n", 1)[0]
    metrics = ServiceMetrics()
    metrics.symbol("BTCUSDT")
    (family,) = [family for family in metrics.registry.collect() if family.name == "cowbook_symbol_state"]
    states = [sample.labels["state"] for sample in family.samples]
    table = RUNBOOK.split("## States of a symbol\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == states
    anchors = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", RUNBOOK, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", RUNBOOK)) <= anchors


def test_tests_of_rules() -> None:
    """Each alert has promtool tests of its own, in which it fires, for some series only, and in which it does not."""
    cases: dict[str, list[dict[str, Any]]] = {}
    for case in load("cowbook.rules.test.yml")["tests"]:
        cases.setdefault(case["name"].split(",")[0], []).append(case)
    assert cases.keys() == {rule["alert"] for _, rule in rules()}
    for name, own in cases.items():
        tests = [test for case in own for test in case["alert_rule_test"]]
        assert {test["alertname"] for test in tests} == {name}
        assert {bool(test.get("exp_alerts")) for test in tests} == {False, True}
        series = [series["series"] for case in own for series in case["input_series"]]
        assert any('"BAD' in one or '"bad' in one for one in series)
        assert any('"OK' in one or '"ok' in one or '"blinks' in one for one in series)


def test_scrape_example() -> None:
    """The example scrapes the default port under the name that the rules ask for, and loads the rules."""
    config = load("prometheus.yml")
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "cowbook"
    assert job["static_configs"] == [{"targets": ["localhost:9464"]}]
    assert config["global"]["scrape_interval"] == "15s"
    assert [(PROMETHEUS / name).is_file() for name in config["rule_files"]] == [True]


def test_form_of_dashboard() -> None:
    """Panels have ids of their own, a unit, words, and the datasource that is asked for at the import; none lies on another."""
    # A file that is provisioned has nobody to ask for inputs: the data source is a variable, and everything names it.
    assert not {"__inputs", "__requires", "id"} & DASHBOARD.keys()
    source, *others = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert [variable["datasource"]["uid"] for variable in others] == ["${datasource}"] * len(others)
    assert set(re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARD))) == {"cowbook", "${datasource}"}
    assert DASHBOARD["schemaVersion"] >= 39
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "instance", "symbol"]
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Checkpoints", "Book and quality", "Market", "Process"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    covered: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & covered
        covered |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert '$instance"' in target["expr"]
