"""The command line as a user meets it: real processes, exit codes, one line for each error."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cowbook import __version__
from cowbook.checkpoint import listing
from cowbook.simulate.capture import write_capture


def cowbook(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "cowbook", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with one simulated capture."""
    write_capture(tmp_path / "a.jsonl.gz", symbol="BTCUSDT", messages=200, seed=1, gaps=1)
    path = tmp_path / "cowbook.toml"
    path.write_text('[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["a.jsonl.gz"]\n')
    return path


def test_version_is_printed() -> None:
    """--version answers."""
    result = cowbook("--version")
    assert (result.returncode, result.stdout) == (0, f"cowbook {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [(), ("nonsense",), ("run",), ("run", "x.toml", "--json"), ("simulate", "--messages", "0", "x")]
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    """Wrong usage is exit code 2."""
    assert cowbook(*arguments).returncode == 2


def test_a_checked_configuration_runs_and_shows_a_query(config: Path) -> None:
    """check, then run: a table, and a query that DuckDB takes as it stands."""
    import duckdb

    checked = cowbook("check", config)
    assert checked.returncode == 0, checked.stderr
    assert "a.jsonl.gz" in checked.stdout
    assert not (config.parent / "data").exists()
    result = cowbook("run", config, "--once")
    assert result.returncode == 0, result.stderr
    assert "1 (" in result.stdout
    query = result.stdout[result.stdout.index("SELECT") :]
    rows = duckdb.connect().execute(query).fetchall()
    assert rows
    assert all(bid < ask for _, bid, ask, *_ in rows)
    again = cowbook("run", config, "--once", "--json")
    assert again.returncode == 0
    (summary,) = json.loads(again.stdout)
    assert summary["state"] == "done"
    assert summary["gaps"] == 1
    assert summary["audits"]["bookTicker"]["failed"] == 0
    assert (summary["recovered_epoch"], summary["parts"], summary["checkpoints"]) == (1, 0, 0)


def test_settings_that_change_rows_are_refused_by_name(config: Path) -> None:
    """Settings that change rows are refused by their names; with --allow-fresh the run starts from the beginning."""
    assert cowbook("run", config, "--once").returncode == 0
    config.write_text(config.read_text() + "size_decimals = 9\n")
    refused = cowbook("run", config, "--once")
    assert refused.returncode == 1
    assert "size_decimals was 8 and is 9" in refused.stdout
    assert cowbook("run", config, "--once", "--allow-fresh").returncode == 0
    assert list((config.parent / "data" / ".superseded" / "BTCUSDT").glob("*-3/*"))


def test_a_failed_symbol_is_exit_code_1(config: Path) -> None:
    """A symbol that cannot go on is exit code 1, and says why."""
    config.write_text(config.read_text() + 'on_gap = "halt"\n')
    result = cowbook("run", config, "--once")
    assert result.returncode == 1
    assert "was expected" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_wrong_configuration_is_exit_code_78(config: Path) -> None:
    """A wrong configuration is exit code 78, a line for each problem."""
    config.write_text(config.read_text() + 'flow = true\n[log]\nlevel = "x"\n')
    for command in (("run", config, "--once"), ("check", config)):
        result = cowbook(*command)
        assert result.returncode == 78
        assert len(result.stderr.splitlines()) == 2
        assert "did you mean follow?" in result.stderr


def test_check_names_what_is_missing(config: Path) -> None:
    """Check names missing input and output that cannot be written."""
    (config.parent / "a.jsonl.gz").unlink()
    (config.parent / "data").write_text("in the way")
    result = cowbook("check", config)
    assert result.returncode == 78
    assert "No such file" in result.stderr
    assert "[service] output_dir" in result.stderr


def test_a_state_directory_that_is_open_to_others_is_said(config: Path) -> None:
    """By check, and in the log of a run, which goes on: volumes of containers are often so."""
    (config.parent / "state").mkdir()
    (config.parent / "state").chmod(0o777)
    checked = cowbook("check", config)
    assert "has mode 0777: everyone could remove" in checked.stdout
    result = cowbook("run", config, "--once")
    assert result.returncode == 0
    assert "has mode 0777: everyone could remove" in result.stderr


def test_check_doubts_what_has_no_record(config: Path) -> None:
    """Text of something else may stand before a capture, so that it is a note."""
    (config.parent / "a.jsonl.gz").write_text("root:x:0:0:root:/root:/bin/bash\n" * 3)
    checked = cowbook("check", config)
    assert checked.returncode == 0
    assert 'may be no capture of format = "binance": none of its first 3 records is one' in " ".join(checked.stdout.split())


def test_check_says_what_a_start_would_refuse_of_the_state(config: Path) -> None:
    """The reason is the start's own."""
    assert cowbook("run", config, "--once").returncode == 0
    assert "would not start" not in cowbook("check", config).stdout
    config.write_text(config.read_text() + "price_decimals = 3\n")
    said = " ".join(cowbook("check", config).stdout.split())
    result = cowbook("run", config, "--once")
    assert result.returncode == 1
    reason = "was made with other settings: price_decimals was 8 and is 3: set them back"
    assert f'note: "BTCUSDT" would not start: checkpoint {config.parent}/state/BTCUSDT/checkpoints/' in said
    assert reason in said
    assert reason in " ".join(result.stderr.split())
    for manifest in (config.parent / "state/BTCUSDT/checkpoints").glob("*/manifest.json"):
        manifest.write_bytes(manifest.read_bytes()[:-9])
    said = " ".join(cowbook("check", config).stdout.split())
    assert f'note: "BTCUSDT" would not start: {config.parent}/state/BTCUSDT has no valid checkpoint: ' in said


def test_a_checkpoint_that_gets_its_name_while_it_is_looked_for_is_read(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer lists it under the name that it was written under, and renames it before it is read."""
    assert cowbook("run", config, "--once").returncode == 0
    root = config.parent / "state" / "BTCUSDT"
    before = listing.newest_checkpoint(root, "BTCUSDT")
    assert before is not None
    epoch = before.manifest.epoch
    monkeypatch.setattr(listing, "places", lambda *_: {epoch: root / "checkpoints" / ".tmp-begun"})
    found = listing.newest_checkpoint(root, "BTCUSDT")
    assert found is not None
    assert found.directory == root / "checkpoints" / str(epoch)


def test_run_refuses_missing_input_as_check_does(config: Path) -> None:
    """Run says the same, before anything is written."""
    (config.parent / "a.jsonl.gz").unlink()
    result = cowbook("run", config, "--once")
    assert result.returncode == 78
    assert "No such file" in result.stderr
    assert cowbook("check", config).stderr == result.stderr
    assert not list(config.parent.glob("*/*"))


def test_simulate_says_what_the_capture_holds(tmp_path: Path) -> None:
    """Simulate writes a capture and says what is in it; a place that cannot be written is one line."""
    result = cowbook("simulate", "--messages", "50", "x.jsonl.zst", cwd=tmp_path)
    assert result.returncode == 0
    assert "50 diffs" in result.stdout
    result = cowbook("simulate", "--messages", "50", "nowhere/x.jsonl", cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def test_simulate_names_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names what was asked for."""
    result = cowbook("simulate", str(tmp_path / "missing" / "x"))
    assert result.returncode == 2
    assert result.stderr == f"cowbook simulate: {tmp_path}/missing/x: there is no directory {tmp_path}/missing; make it first\n"


def test_simulate_replaces_no_file(tmp_path: Path) -> None:
    """It may be a capture."""
    (tmp_path / "x.jsonl").write_text("recorded")
    result = cowbook("simulate", "--messages", "50", "x.jsonl", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, "cowbook simulate: x.jsonl: exists: remove it, or give another name\n")
    assert (tmp_path / "x.jsonl").read_text() == "recorded"


@pytest.mark.parametrize(
    ("command", "code"),
    [(["check"], 0), (["run", "--once", "--json"], 0), (["run", "--once"], 0), (["run", "--once", "--json", "--fails"], 1)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_exit_codes_survive_readers_that_are_gone(config: Path, command: list[str], code: int, closed: str) -> None:
    """`| head -1` changes nothing, whatever is closed: done is done, and failed is failed."""
    if "--fails" in command:  # only the end shows it
        command = command[:-1]
        config.write_text(config.read_text().replace('name = "BTCUSDT"', 'name = "OTHER"'))
    full = [sys.executable, "-m", "cowbook", command[0], str(config), *command[1:]]
    with subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if closed != "stderr":
            process.stdout.close()
        if closed != "stdout":
            process.stderr.close()
        assert process.wait(120) == code
        if closed == "stdout":
            assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("command", [["check"], ["run", "--once"], ["run", "--once", "--json"]], ids=" ".join)
def test_a_result_that_cannot_be_written_is_an_error(config: Path, command: list[str]) -> None:
    """In one line."""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "cowbook", *command, str(config)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "cowbook: standard output cannot be written: No space left on device"
    assert "Traceback" not in ran.stderr


def test_streams_that_are_closed_at_the_start_lead_nowhere(config: Path) -> None:
    """As a job scheduler may start it."""
    script = f"{sys.executable} -m cowbook run {config} --once >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", script], check=False, timeout=120).returncode == 0


def test_warm_says_where_the_kernels_are() -> None:
    """Warm says where the kernels are."""
    result = cowbook("warm")
    assert result.returncode == 0
    assert "cache" in result.stdout


def test_a_port_in_use_names_the_setting(config: Path) -> None:
    """The service says which setting is to be changed, and ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(f'[http]\nlisten = "127.0.0.1:{port}"\n' + config.read_text())
        result = cowbook("run", config)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"cowbook: cannot listen on 127.0.0.1:{port}: ")
    assert "choose another [http] listen" in result.stderr
    assert "Traceback" not in result.stderr
