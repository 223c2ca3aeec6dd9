"""The configuration: defaults, overrides, and every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from cowbook.config import Config, SymbolConfig, load_config, output_directory_name, parse_duration
from cowbook.errors import ConfigError
from cowbook.symbol.settings import decoder_settings, fingerprint

REPOSITORY = Path(__file__).resolve().parents[2]
MINIMAL = '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["a.jsonl"]\n'


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    """Load a configuration from its text."""
    path = tmp_path / "cowbook.toml"
    path.write_text(text)
    return load_config(path, environ or {})


def problems(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    return caught.value.problems


def test_minimal(tmp_path: Path) -> None:
    """Three keys are enough; the id is the name, paths are relative to the file."""
    config = load(tmp_path, MINIMAL)
    assert config.symbol[0].id == "BTCUSDT"
    assert config.service.output_dir == tmp_path / "data"
    assert config.base_dir == tmp_path
    assert config.output.part_interval == 3_600_000_000_000


def test_commented_example_has_every_key_with_its_default(tmp_path: Path) -> None:
    """config/cowbook.toml loads, says the models' defaults, and leaves no key out. What has no default stands in a comment."""
    text = (REPOSITORY / "config" / "cowbook.toml").read_text()
    example = load(tmp_path, text)
    minimal = load(tmp_path, MINIMAL.replace("a.jsonl", "captures/BTCUSDT-*.jsonl.gz"))
    assert example == minimal
    lines = [line.removeprefix("# ").split("=")[0].strip() for line in text.splitlines()]
    models: list[type[BaseModel]] = [SymbolConfig]
    models += [field.annotation for name, field in Config.model_fields.items() if name not in ("symbol", "base_dir", "objects")]  # type: ignore[misc]
    for model in models:
        for key in model.model_fields:
            assert key in lines, key


def test_a_wrapper_and_an_address_reach_the_decoder(tmp_path: Path) -> None:
    """A wrapper's paths have no empty keys; an address is a channel of every format, and both are part of the fingerprint."""
    named = 'envelope = { time = "ts", message = "data.msg" }\nchannel = "wss://example.com/linear"\n'
    config = load(tmp_path, MINIMAL + named)
    found = decoder_settings(config.symbol[0])
    assert (found.envelope, found.address) == (("ts", "data.msg"), "wss://example.com/linear")
    plain = load(tmp_path, MINIMAL)
    assert fingerprint(plain, plain.symbol[0]).items() < fingerprint(config, config.symbol[0]).items()
    found_problems = problems(tmp_path, MINIMAL + 'envelope = { time = "", message = "a..b", extra = 1 }\n')
    assert all(any(word in problem for problem in found_problems) for word in ("time", "message", "extra")), found_problems


def test_all_problems_at_once(tmp_path: Path) -> None:
    """Each problem names its key; unknown keys the nearest known one."""
    text = """
[service]
lop = "asyncio"
[checkpoint]
retain = 1
every_events = "7"
every = "5 minutes"
[outputs]
[output]
part_interval = "7h"
streams = ["depth", "depth"]
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["a"]
price_decimal = 3
[[symbol]]
id = "x"
name = "BTCUSDT"
format = "krakn"
paths = []
[[symbol]]
"""
    found = problems(tmp_path, text, {"COWBOOK_CHECKPOINT__EVRY": "3s", "COWBOOK_LOG__LEVEL": "loud", "COWBOOK_X__Y": "1"})
    for expected in (
        "[service] unknown key lop; did you mean loop?",
        "[checkpoint] retain: ",
        "[checkpoint] every_events: ",
        "[checkpoint] every: must be a duration",
        "unknown key outputs; did you mean output?",
        "[output] part_interval: must divide the UTC day",
        "[output] streams: names a stream twice",
        '[[symbol]] #1 "BTCUSDT" unknown key price_decimal; did you mean price_decimals?',
        '[[symbol]] #2 "x" format: must be one of binance, binance_csv, ',
        '[[symbol]] #2 "x" paths: ',
        "[[symbol]] #3 name: is required",
        "[[symbol]] #3 paths: is required",
        "COWBOOK_CHECKPOINT__EVRY: [checkpoint] has no key evry; did you mean every?",
        "COWBOOK_X__Y: there is no section [x]",
        "[log] level: ",
    ):
        assert any(problem.startswith(expected) for problem in found), expected
    assert len(found) == 16


def test_duplicate_ids(tmp_path: Path) -> None:
    """Two symbols of one id would write into each other."""
    assert "id is that of #1 already" in problems(tmp_path, MINIMAL + MINIMAL)[0]
    load(tmp_path, MINIMAL + MINIMAL + 'id = "other"\n')


def test_no_symbol(tmp_path: Path) -> None:
    """A configuration without symbols is one problem, not a run that does nothing."""
    assert len(problems(tmp_path, "")) == 1


@pytest.mark.parametrize("text", ["[", 'x = "', "\xff"])
def test_not_toml(tmp_path: Path, text: str) -> None:
    """A syntax error names its place."""
    path = tmp_path / "cowbook.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(path, {})


def test_missing_file(tmp_path: Path) -> None:
    """A missing configuration is named."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: .*; `cowbook init CAPTURES` prints one"):
        load_config(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("COWBOOK_OUTPUT", "COWBOOK_OUTPUT__KEY"),
        ("COWBOOK_SERVICE_LOOP", "COWBOOK_SERVICE__LOOP"),
        ("COWBOOK_CHECKPOINT_MIN_PAUSE", "COWBOOK_CHECKPOINT__MIN_PAUSE"),
    ],
)
def test_environment_with_one_underscore(tmp_path: Path, name: str, right: str) -> None:
    """What names a section is meant for cowbook: a mistake, and not to be ignored."""
    with pytest.raises(ConfigError, match=f"{name}: two underscores stand between section and key: {right}$"):
        load(tmp_path, MINIMAL, {name: "3"})


def test_one_directory_for_both(tmp_path: Path) -> None:
    """State and output would be mixed."""
    with pytest.raises(ConfigError, match="state_dir and output_dir are the same"):
        load(tmp_path, MINIMAL + '\n[service]\nstate_dir = "x/../data"\n', {})


def test_one_directory_for_both_by_a_link(tmp_path: Path) -> None:
    """What counts is where they really lie."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(ConfigError, match="state_dir and output_dir are the same"):
        load(tmp_path, MINIMAL + '\n[service]\nstate_dir = "link"\n', {})


@pytest.mark.parametrize("state_dir", ["data/state", "link/state/deep"])
def test_state_below_output(tmp_path: Path, state_dir: str) -> None:
    """State is private, and output is for others."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(ConfigError, match="state_dir lies in output_dir"):
        load(tmp_path, MINIMAL + f'\n[service]\nstate_dir = "{state_dir}"\n', {})


@pytest.mark.parametrize("interval", ["1ns", "500ms", "999ms"])
def test_a_part_spans_a_second_at_least(tmp_path: Path, interval: str) -> None:
    """Each part costs files of its own, however few rows it has."""
    with pytest.raises(ConfigError, match=r"\[output\] part_interval: must"):
        load(tmp_path, MINIMAL + f'\n[output]\npart_interval = "{interval}"\n', {})
    assert load(tmp_path, MINIMAL + '\n[output]\npart_interval = "1s"\n', {}).output.part_interval == 10**9


def test_environment(tmp_path: Path) -> None:
    """Variables override keys, each by its type; $STATE_DIRECTORY moves state and output."""
    environ = {
        "COWBOOK_CHECKPOINT__EVERY": "30s",
        "COWBOOK_OUTPUT__PART_EVENTS": "5_000",
        "COWBOOK_OUTPUT__STREAMS": "depth, bbo",
        "COWBOOK_SERVICE__LOOP": "asyncio",
        "STATE_DIRECTORY": "/var/lib/cowbook",
        "COWBOOK_HOME": "of somebody else",
    }
    config = load(tmp_path, MINIMAL, environ)
    assert config.checkpoint.every == 30_000_000_000
    assert config.output.part_events == 5_000
    assert config.output.streams == ("depth", "bbo")
    assert config.service.loop == "asyncio"
    assert config.service.output_dir == Path("/var/lib/cowbook/data")


@pytest.mark.parametrize("listen", ["", "127.0.0.1:9464", "[::1]:80"])
def test_listen(tmp_path: Path, listen: str) -> None:
    """host:port, or off."""
    assert load(tmp_path, MINIMAL + f'[http]\nlisten = "{listen}"').http.listen == listen
    assert problems(tmp_path, MINIMAL + '[http]\nlisten = "localhost"')


@pytest.mark.parametrize(("text", "expected"), [("250ms", 250_000_000), ("5min", 300 * 10**9), ("1 d", 86400 * 10**9)])
def test_durations(text: str, expected: int) -> None:
    """Numbers and units."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize("value", ["", "5", "min", "1.5s", "-1s", "1w", 5, None])
def test_not_durations(value: object) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("symbol_id", "name"), [("BTC-USD", "BTC-USD"), ("BTC/USD", "BTC%2FUSD"), ("..", "%2E%2E"), ("a b%", "a%20b%25")]
)
def test_directory_names(symbol_id: str, name: str) -> None:
    """No id leads out of its directory."""
    assert output_directory_name(symbol_id) == name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[service]\nstate_dir = ""', "[service] state_dir: must be the path of a directory"),
        ("[service]\noutput_dir = 5", "[service] output_dir: must be the path of a directory"),
        ('[output]\nbook_interval = "367d"', "[output] book_interval: must be at most 366d"),
        ('[output]\nbook_interval = "0s"', "[output] book_interval: "),
        ("[output]\nbook_levels = 1001", "[output] book_levels: "),
        ("[checkpoint]\nretain = true", "[checkpoint] retain: "),
        ("checkpoint = 5", "[checkpoint]: must be a table"),
        ('base_dir = "x"', "unknown key base_dir"),
    ],
)
def test_limits(tmp_path: Path, text: str, problem: str) -> None:
    """What would fail later, or mean something else than it says, is refused with its key."""
    (found,) = problems(tmp_path, f"{text}\n{MINIMAL}")
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("max_book_bytes = 1048575", "max_book_bytes"),
        ("max_book_bytes = 1099511627777", "max_book_bytes"),
        ("max_line_bytes = 1023", "max_line_bytes"),
        ("price_decimals = 19", "price_decimals"),
        ('size_decimals = "8"', "size_decimals"),
        ("follow = 1", "follow"),
        ('id = ""', "id"),
        (f'id = "{"é" * 34}"', "id"),  # six bytes each as a directory
    ],
)
def test_symbol_limits(tmp_path: Path, line: str, key: str) -> None:
    """Keys of a symbol likewise, named with the symbol's place."""
    (found,) = problems(tmp_path, MINIMAL + line)
    assert found.startswith("[[symbol]] #1")
    assert f" {key}: " in found


def test_longest_id(tmp_path: Path) -> None:
    """An id that just fits as the name of a directory is taken."""
    assert load(tmp_path, MINIMAL + f'id = "{"é" * 33}"').symbol[0].id == "é" * 33


@pytest.mark.parametrize("name", ["", "a b", 'a\\"b', "a\\\\b", "x" * 65, "x\\n"])
def test_names_that_records_cannot_say(tmp_path: Path, name: str) -> None:
    """A name is compared byte by byte with what stands in JSON: what would be escaped there is refused."""
    found = problems(tmp_path, MINIMAL.replace("BTCUSDT", name))
    assert any("printable characters" in problem for problem in found)


def test_duplicates_are_not_hidden_by_other_problems(tmp_path: Path) -> None:
    """Ids that meet, also by case alone, are named beside whatever else is wrong."""
    found = problems(tmp_path, MINIMAL + MINIMAL.replace("BTCUSDT", "btcusdt") + "[output]\nbook_levels = 0\n")
    assert any("id is that of #1 already" in problem for problem in found)
    assert any("book_levels" in problem for problem in found)


def test_problem_names_its_variable(tmp_path: Path) -> None:
    """A wrong value from the environment is not looked for in the file; symbols are not set there."""
    environ = {"COWBOOK_CHECKPOINT__RETAIN": "1", "COWBOOK_SYMBOL__NAME": "x"}
    symbols, retain = problems(tmp_path, MINIMAL, environ)
    assert symbols.startswith("COWBOOK_SYMBOL__NAME: symbols are set in the file only")
    assert retain.endswith("from COWBOOK_CHECKPOINT__RETAIN")
    assert retain.startswith("[checkpoint] retain: ")


def test_a_configuration_does_not_change(tmp_path: Path) -> None:
    """Models are frozen: threads share them."""
    config = load(tmp_path, MINIMAL)
    with pytest.raises(ValidationError):
        config.output.book_levels = 3


def test_a_channel_is_a_book_that_the_format_knows(tmp_path: Path) -> None:
    """Known ones are taken, others are named with all that are known, and formats with one book a symbol have none."""
    for name in ("", "spot", "futures", "rpi", "depth", "depth@100ms"):
        assert load(tmp_path, MINIMAL + f'channel = "{name}"').symbol[0].channel == name
    for name, form in (("books", "okx"), ("orderbook.50", "bybit"), ("book-10", "kraken"), ("100ms", "deribit")):
        assert load(tmp_path, MINIMAL.replace("binance", form) + f'channel = "{name}"').symbol[0].channel == name
    (found,) = problems(tmp_path, MINIMAL + 'channel = "margin"')
    assert found.startswith('[[symbol]] #1 "BTCUSDT": channel = "margin": must be one of "spot", "futures", "rpi", "depth", ')
    (found,) = problems(tmp_path, MINIMAL.replace('"binance"', '"coinbase"') + 'channel = "spot"')
    assert found.startswith('[[symbol]] #1 "BTCUSDT": channel = "spot": a symbol has one book only in format = "coinbase"')
