"""Commands that read directories, asked for object storage."""

from __future__ import annotations

import pytest

from cowbook.cli.parser import make_parser


@pytest.mark.parametrize(
    "command",
    [
        ("report", "s3://bucket/data"),
        ("checkpoints", "list", "s3://bucket/state"),
        ("sql", "gs://bucket/data"),
        ("plot", "az://bucket/data", "--symbol", "A", "a.png"),
        ("export", "csv", "s3://bucket/data", "--symbol", "A", "out"),
        ("book", "s3://bucket/data", "--symbol", "A", "--at", "1"),
        ("compact", "s3://bucket/data"),
    ],
    ids=lambda command: command[0],
)
def test_object_storage_is_no_directory(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, with what to do; the URL is not taken for a path."""
    with pytest.raises(SystemExit) as error:
        make_parser().parse_args(command)
    assert error.value.code == 2
    assert "is object storage, which this command does not read: copy it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("run", "s3://bucket/cowbook.toml"),
        ("check", "s3://bucket/cowbook.toml"),
        ("simulate", "s3://bucket/a.jsonl"),
        ("plot", "data", "--symbol", "A", "s3://bucket/a.png"),
        ("report", "data", "--html", "s3://bucket/a.html"),
        ("book", "data", "--symbol", "A", "--parquet", "s3://bucket/a.parquet"),
        ("export", "csv", "data", "--symbol", "A", "s3://bucket/out"),
        ("demo", "s3://bucket/demo"),
    ],
    ids=lambda command: command[0],
)
def test_object_storage_is_no_file(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Of those that commands read or write as a whole; captures are read there."""
    with pytest.raises(SystemExit) as error:
        make_parser().parse_args(command)
    assert error.value.code == 2
    assert "is object storage: name a file or a directory of this machine" in capsys.readouterr().err
