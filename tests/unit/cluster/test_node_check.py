"""What keeps nodes from working on the same state is found before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cowbook.cluster.node_check import StorageProbe, describe_node, judge_nodes
from cowbook.cluster.nodes import Node
from cowbook.config import Config
from support.fake_cluster import config_of

NODE = Node("id-1", "node-1")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of one symbol with one file."""
    (tmp_path / "A").touch()
    return config_of(tmp_path, "A")


def judge(config: Config, directories: list[Path], change: Any = lambda _found: None) -> tuple[list[str], list[str]]:
    """What is said of a node that sees what this one sees, but for a change."""
    with StorageProbe(directories) as probe:
        request = probe.request(config)
        found = describe_node(request)
        change(found)
        return judge_nodes([NODE], {NODE.id: found}, describe_node(request), probe)


def test_a_node_that_sees_all_passes_and_nothing_is_left(config: Config, tmp_path: Path) -> None:
    """Neither the probes nor what nodes have written."""
    directories = [tmp_path / "state", tmp_path / "data"]
    assert judge(config, directories) == ([], [])
    assert [list(directory.iterdir()) for directory in directories] == [[], []]


@pytest.mark.parametrize("program", ["python", "cowbook"])
def test_other_versions_are_refused(config: Config, tmp_path: Path, program: str) -> None:
    """Both are named."""
    problems, _ = judge(config, [tmp_path / "state"], lambda found: found.update({program: "9.9"}))
    assert len(problems) == 1
    assert problems[0].startswith("node node-1 has ")
    assert "9.9" in problems[0]


def test_a_directory_of_its_own_is_refused(config: Config, tmp_path: Path) -> None:
    """The node has one at the same path, in which the probe is not."""
    with StorageProbe([tmp_path / "state"]) as probe:
        request = probe.request(config)
        (tmp_path / "other").mkdir()
        elsewhere = describe_node(request | {"directories": [str(tmp_path / "other")]})
        problems, _ = judge_nodes([NODE], {NODE.id: elsewhere}, describe_node(request), probe)
    assert len(problems) == 1
    assert f"does not see what this one writes to {tmp_path / 'state'}" in problems[0]


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        pytest.param({"is_conditional": False}, "created a second time", id="not conditional"),
        pytest.param({"error": "state: Permission denied"}, "cannot write to state: Permission denied", id="read-only"),
    ],
)
def test_storage_that_does_not_fence_is_refused(config: Config, tmp_path: Path, storage: dict[str, Any], expected: str) -> None:
    """As it is said by the node."""
    problems, _ = judge(config, [tmp_path / "state"], lambda found: found["storage"][0].update(storage))
    assert len(problems) == 1
    assert expected in problems[0]


def test_locks_that_do_not_hold_and_other_input_are_warnings(config: Config, tmp_path: Path) -> None:
    """The commit log fences without locks, and input may grow while one looks."""

    def change(found: dict[str, Any]) -> None:
        found["storage"][0]["has_locks"] = False
        found["input"]["A"] = "another"

    problems, warnings = judge(config, [tmp_path / "state"], change)
    assert not problems
    assert len(warnings) == 2
    assert 'does not see the files of "A"' in warnings[1]


def test_a_node_on_which_cowbook_cannot_run_is_named(config: Config, tmp_path: Path) -> None:
    """With what it said."""
    with StorageProbe([tmp_path / "state"]) as probe:
        said = "ModuleNotFoundError: No module named 'cowbook'"
        problems, _ = judge_nodes([NODE], {NODE.id: said}, describe_node(probe.request(config)), probe)
    assert len(problems) == 1
    assert said in problems[0]
