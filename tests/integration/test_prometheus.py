"""A real Prometheus: it accepts rules and metrics, scrapes a running daemon, and raises the alert that is due."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest
import yaml

from cowbook.config import load_config
from cowbook.service.service import run_once
from cowbook.simulate.capture import write_capture
from support.promql import selected

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config" / "prometheus"
DEADLINE_SECONDS = 300.0
"""For the kernels, too, which the daemon may have to compile first."""

_OPENER = build_opener(ProxyHandler({}))  # whatever proxies the environment names: all is on this machine


@pytest.fixture(scope="module")
def binaries() -> Path:
    """The directory of prometheus and promtool."""
    found = shutil.which("promtool")
    places = [os.environ.get("COWBOOK_PROMETHEUS_DIR"), REPOSITORY / ".cache/prometheus/usr/bin", found and Path(found).parent]
    for place in places:
        if place and all(os.access(Path(place, name), os.X_OK) for name in ("prometheus", "promtool")):
            return Path(place)
    pytest.skip("prometheus and promtool are not there: make prometheus")


def promtool(binaries: Path, *arguments: str | Path, given: bytes = b"") -> str:
    """What it says, when it finds nothing wrong."""
    result = subprocess.run(
        [binaries / "promtool", *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout.decode()
    return result.stdout.decode()


def get(url: str, *, method: str = "GET") -> bytes:
    """The body of an answer. Raises URLError when there is none, or when it is an error."""
    with _OPENER.open(Request(url, method=method), timeout=60) as answer:  # noqa: S310 - http, from here
        body: bytes = answer.read()
        return body


def poll(what: str, ask: Callable[[], Any], *processes: subprocess.Popen[bytes]) -> Any:
    """The first answer that is not false, while the processes live."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    last: object = None
    while time.monotonic() < deadline:
        for running in processes:
            assert running.poll() is None, f"{what}: {running.args!r} has ended with {running.returncode}"
        try:
            if last := ask():
                return last
        except (URLError, ConnectionError) as error:
            last = error
        time.sleep(0.05)
    pytest.fail(f"{what}: not within {DEADLINE_SECONDS:.0f} s; the last answer: {last}")


@contextmanager
def process(log: Path, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process as long as the block lasts; what it says is shown when the test fails."""
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as started:
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(30)
            except subprocess.TimeoutExpired:
                started.kill()
            print(f"== {log.name}\n{log.read_text(errors='replace')[-20_000:]}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def test_configuration_and_rules_are_valid(binaries: Path) -> None:
    """Configuration and rules are valid, and the alerts' own tests hold."""
    assert "SUCCESS" in promtool(binaries, "check", "config", CONFIG / "prometheus.yml")
    assert "SUCCESS" in promtool(binaries, "check", "rules", CONFIG / "cowbook.rules.yml")
    assert "SUCCESS" in promtool(binaries, "test", "rules", CONFIG / "cowbook.rules.test.yml")


def write_daemon(directory: Path, listen: str) -> tuple[Path, int]:
    """Configuration of a symbol that runs and of one that halts at a gap, and the events of the first one's capture."""
    lines = [f'[http]\nlisten = "{listen}"']
    for symbol, gaps, on_gap in (("BTCUSDT", 0, "continue"), ("ETHUSDT", 1, "halt")):
        write_capture(directory / f"{symbol}.jsonl", symbol=symbol, messages=200, seed=5, gaps=gaps)
        lines.append(f'[[symbol]]\nname = "{symbol}"\nformat = "binance"\npaths = ["{symbol}.jsonl"]')
        lines.append(f'follow = true\non_gap = "{on_gap}"')
    path = directory / "cowbook.toml"
    path.write_text("\n".join(lines))
    # The number of events is that of a run which has nothing to do with metrics.
    once = directory / "once"
    once.mkdir()
    shutil.copy(directory / "BTCUSDT.jsonl", once)
    (once / "cowbook.toml").write_text("\n".join([lines[1]]))
    (summary,) = run_once(load_config(once / "cowbook.toml", {}))
    return path, summary.events


def write_prometheus(directory: Path, target: str) -> Path:
    """The shipped configuration, but quick, with this target, and away from its place."""
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(CONFIG / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_failed_symbol_raises_its_alert(binaries: Path, tmp_path: Path) -> None:
    """A daemon is scraped, every rule is evaluated, and a symbol that has failed raises its alert."""
    listen, web = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    config, events = write_daemon(tmp_path, listen)
    server: list[str | Path] = ["--config.file", write_prometheus(tmp_path, listen), "--storage.tsdb.path", tmp_path / "tsdb"]
    server += ["--web.listen-address", web, "--log.level", "warn"]
    with (
        process(tmp_path / "daemon.log", sys.executable, "-m", "cowbook", "run", config) as daemon,
        process(tmp_path / "prometheus.log", binaries / "prometheus", *server) as prometheus,
    ):

        def api(path: str, **parameters: str) -> Any:
            answer = json.loads(get(f"http://{web}/api/v1/{path}?{urlencode(parameters)}"))
            assert answer["status"] == "success"
            return answer["data"]

        def value(query: str) -> float | None:
            found = api("query", query=query)["result"]
            return float(found[0]["value"][1]) if found else None

        def until(what: str, ask: Callable[[], Any]) -> Any:
            return poll(what, ask, daemon, prometheus)

        until("the daemon listens", lambda: get(f"http://{listen}/healthz"))
        until("the target is up", lambda: [one for one in api("targets")["activeTargets"] if one["health"] == "up"])
        until("all events are counted", lambda: value('sum(cowbook_events_total{symbol="BTCUSDT"})') == events)
        (answer,) = json.loads(get(f"http://{listen}/checkpoint?symbol=BTCUSDT", method="POST"))["checkpoints"]
        assert answer["error"] is None
        taken = answer["epoch"]
        until("the checkpoint is seen", lambda: value('cowbook_checkpoint_epoch{symbol="BTCUSDT"}') == taken)
        committed = 'sum(cowbook_checkpoints_total{symbol="BTCUSDT", outcome="committed"})'
        until("the attempts are counted", lambda: value(committed) == taken)
        until("nothing is left for the next", lambda: value('cowbook_events_since_checkpoint{symbol="BTCUSDT"}') == 0)
        check_rules(until, api)
        check_alerts(until, api)
        check_expressions(api)
        # No output: nothing to complain about in names, types and helps.
        assert promtool(binaries, "check", "metrics", given=get(f"http://{listen}/metrics")) == ""


def check_rules(until: Callable[..., Any], api: Callable[..., Any]) -> None:
    """All rules are there, and every one is evaluated without an error."""

    def rules() -> list[dict[str, Any]]:
        return [rule for group in api("rules")["groups"] for rule in group["rules"]]

    until("every rule is evaluated", lambda: rules() and all(rule["health"] != "unknown" for rule in rules()))
    shipped = yaml.safe_load((CONFIG / "cowbook.rules.yml").read_text())["groups"]
    assert {rule["name"] for rule in rules()} == {rule["alert"] for group in shipped for rule in group["rules"]}
    assert [(rule["name"], rule.get("lastError")) for rule in rules() if rule["health"] != "ok"] == []


def check_alerts(until: Callable[..., Any], api: Callable[..., Any]) -> None:
    """The symbol that has halted is reported; the one that runs is not."""

    def firing() -> set[tuple[str, str]]:
        alerts = [alert for alert in api("alerts")["alerts"] if alert["state"] == "firing"]
        return {(alert["labels"]["alertname"], alert["labels"].get("symbol", "")) for alert in alerts}

    until("the failed symbol is reported", lambda: ("CowbookSymbolFailed", "ETHUSDT") in firing())
    assert {name for name, symbol in firing() if symbol != "ETHUSDT"} == set()


def check_expressions(api: Callable[..., Any]) -> None:
    """Everything that rules and dashboard ask for was really scraped, and every question of the dashboard has an answer."""
    dashboard = json.loads((REPOSITORY / "config" / "grafana" / "cowbook.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    shown = [expression for expression in shown if "cowbook_source_" not in expression]  # these symbols have one source
    groups = yaml.safe_load((CONFIG / "cowbook.rules.yml").read_text())["groups"]
    # Neither node_exporter nor the driver of several machines is here.
    here = [group for group in groups if group["name"] not in ("cowbook-disk", "cowbook-shards")]
    alerts = [rule["expr"] for group in here for rule in group["rules"]]
    stored = set(api("label/__name__/values"))
    assert {name for expression in (*shown, *alerts) for name, _ in selected(expression)} - stored == set()
    for expression in shown:
        for variable, meaning in {"$instance": ".*", "$symbol": ".*", "$__rate_interval": "1m"}.items():
            expression = expression.replace(variable, meaning)  # noqa: PLW2901
        assert api("query", query=expression)["resultType"] == "vector", expression
