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
    ],
    ids=lambda command: command[0],
)
def test_object_storage_is_no_directory(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, with what to do; the URL is not taken for a path."""
    with pytest.raises(SystemExit) as error:
        make_parser().parse_args(command)
    assert error.value.code == 2
    assert "is object storage, which this command does not read: copy it" in capsys.readouterr().err
