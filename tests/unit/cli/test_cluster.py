"""`--engine`: what goes with it, and what it says where Ray is missing."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cowbook.cli.main import main

_CONFIG = '[[symbol]]\nname = "A"\nformat = "binance"\npaths = ["A"]\nfollow = true\n'


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The path of one that is valid."""
    (tmp_path / "cowbook.toml").write_text(_CONFIG)
    return str(tmp_path / "cowbook.toml")


@pytest.mark.parametrize("command", ["run", "check"])
def test_without_ray_the_extra_is_named(
    config: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, whether or not Ray is installed here."""
    real = builtins.__import__

    def without_ray(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    assert main([command, config, "--engine", "ray"]) == 1
    said = capsys.readouterr().err
    assert "pip install 'cowbook[ray]'" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--address", "head:6379"], "--address needs --engine ray"),
        (["--shards", "3"], "--shards needs --engine ray"),
        (["--detach"], "--detach needs --engine ray"),
        (["--balance", "0s"], "--balance needs --engine ray"),
        (["--engine", "ray", "--balance", "often"], "must be a duration"),
        (["--engine", "ray", "--shard", "0/2"], "--shard does not go with --engine"),
        (["--engine", "ray", "--allow-fresh"], "--allow-fresh does not go with --engine"),
        (["--engine", "ray", "--once", "--detach"], "--detach does not go with --once"),
        (["--engine", "ray", "--shards", "0"], "must be a positive number"),
        (["--engine", "ray", "--address", "ray://head:10001"], "must be HOST:PORT"),
        (["--engine", "rai"], "did you mean ray?"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    config: str, options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says with what it goes."""
    with pytest.raises(SystemExit, match="2"):
        main(["run", config, *options])
    assert expected in capsys.readouterr().err


def test_a_plain_run_loads_nothing_of_the_cluster(config: str) -> None:
    """Neither Ray nor the driver: a start stays as quick as it was."""
    code = (
        "import sys; from cowbook.cli.main import main; main(sys.argv[1:]);"
        "wrong = [name for name in sys.modules if name.partition('.')[0] == 'ray' or 'cluster' in name]; assert not wrong, wrong"
    )
    subprocess.run([sys.executable, "-c", code, "check", config], check=True, capture_output=True)
    Path(config).write_text(_CONFIG.replace("true", "false"))
    Path(config).with_name("A").write_text(
        '{"stream":"a@trade","data":{"e":"trade","E":1,"s":"A","t":1,"p":"1","q":"1","T":1,"m":true}}\n'
    )
    subprocess.run([sys.executable, "-c", code, "run", config, "--once"], check=True, capture_output=True)
