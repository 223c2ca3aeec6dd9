"""Loads the configuration from TOML and the environment into validated, frozen models.

All problems are reported at once, each with its key, and an unknown key with the nearest known one.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from cowbook.errors import ConfigError
from cowbook.plain.merge_state import MOST_SOURCES
from cowbook.plain.places import is_url
from cowbook.plain.shards import parse_shard
from cowbook.plain.streams import CHOSEN_STREAMS, USUAL_STREAMS
from cowbook.venues import load_venue, venue_names

ENVIRONMENT_PREFIX = "COWBOOK_"

_DAY_NS = 86_400_000_000_000
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": _DAY_NS,
}
_DURATION = re.compile(r"(\d+)\s*([a-z]+)")
_PATH_OF_KEYS = r"^[^.\s]+(\.[^.\s]+)*$"
_SHORTEST_PART_NS = 1_000_000_000
_SHORTEST_FILLED_NS = 1_000_000
_LONGEST_NS = 366 * _DAY_NS  # more makes no sense, and sums of times in ns stay far below 2^63
_SHOWN_CHANNELS = 20
_LONGEST_DIRECTORY_NAME_BYTES = 200  # file systems allow 255 bytes, prefixes included


def parse_duration(value: object) -> int:
    """Parse a duration such as "5min" or "250ms" to ns. Raises ValueError for anything else, and for more than 366 days."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNITS_NS:
        raise ValueError(f'must be a duration such as "5min" (units: {", ".join(_UNITS_NS)})')
    duration = int(match[1]) * _UNITS_NS[match[2]]
    if duration > _LONGEST_NS:
        raise ValueError("must be at most 366d")
    return duration


def _directory(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("must be the path of a directory")
    return Path(value)


Directory = Annotated[Path, BeforeValidator(_directory)]
Duration = Annotated[int, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[Duration, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class ServiceConfig(_Section):
    """Where state and output lie, the kind of event loop, and the shard of symbols that this process has."""

    state_dir: Directory = Path("state")
    output_dir: Directory = Path("data")
    scratch_dir: str = ""
    loop: Literal["uvloop", "asyncio"] = "uvloop"
    shard: str = ""

    @field_validator("shard")
    @classmethod
    def _is_shard(cls, value: str) -> str:
        return str(parse_shard(value)) if value else ""


class HttpConfig(_Section):
    """The HTTP endpoint. An empty `listen` turns it off."""

    listen: str = "127.0.0.1:9464"
    token: Annotated[str, Field(repr=False)] = ""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if value and not (host and colon and port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ValueError('must be host:port, or "" for off')
        return value


class CheckpointConfig(_Section):
    """When checkpoints are taken, and how many are kept."""

    every_events: Annotated[int, Field(gt=0, lt=10**15)] = 1_000_000
    every: PositiveDuration = "5min"  # type: ignore[assignment]
    min_pause: Duration = "1s"  # type: ignore[assignment]
    retain: Annotated[int, Field(ge=2)] = 3
    min_events: Annotated[int, Field(ge=0, lt=10**15)] = 1
    compression: Literal["snappy", "zstd", "lz4", "none"] = "snappy"


if TYPE_CHECKING:
    StreamName = str
else:
    StreamName = Literal[CHOSEN_STREAMS]


class OutputConfig(_Section):
    """The optional streams, and where parts are cut. `gaps`, `drift`, `audits` and `dead_letter` are always written."""

    streams: Annotated[tuple[StreamName, ...], Field(strict=False)] = USUAL_STREAMS
    book_levels: Annotated[int, Field(ge=1, le=1000)] = 20
    book_interval: PositiveDuration = "1s"  # type: ignore[assignment]
    book_fill: bool = False
    part_events: Annotated[int, Field(gt=0, lt=10**15)] = 1_000_000
    part_interval: PositiveDuration = "1h"  # type: ignore[assignment]
    compression: Literal["zstd", "lz4", "snappy", "none"] = "zstd"
    numbers: Literal["decimal", "float64", "int64"] = "decimal"

    @field_validator("streams")
    @classmethod
    def _are_different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a stream twice")
        return value

    @model_validator(mode="after")
    def _is_filled_in_finite_time(self) -> OutputConfig:
        if self.book_fill and self.book_interval < _SHORTEST_FILLED_NS:
            raise ValueError('book_fill needs a book_interval of at least "1ms": a silence of a day has a row for each point')
        return self

    @field_validator("part_interval")
    @classmethod
    def _divides_the_day(cls, value: int) -> int:
        if _DAY_NS % value:
            raise ValueError('must divide the UTC day: "1min", "15min", "1h", "1d", …')
        if value < _SHORTEST_PART_NS:
            raise ValueError('must be at least "1s": each part costs files of its own')
        return value


class LogConfig(_Section):
    """The level and format of the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


def _named_paths(value: tuple[str, ...]) -> tuple[str, ...]:
    if any(not path or "\0" in path for path in value):
        raise ValueError("has an empty path")
    return value


def _check_follows_files(paths: tuple[str, ...], *, follow: bool) -> None:
    """Raises ValueError if objects are to be followed."""
    url = next((path for path in paths if is_url(path)), None)
    if follow and url is not None:
        raise ValueError(
            f"follow = true, but {url} is object storage, where nothing grows: leave follow out, and run with --once whenever "
            "there are new objects; each run goes on where the one before has ended"
        )


def symbol_name(value: str) -> str:
    """Return a symbol's name unchanged. Raises ValueError for a name that JSON would have to escape, or nobody could read."""
    if not 1 <= len(value) <= 64 or not value.isprintable() or re.search(r'[ "\\]', value):
        raise ValueError("must be 1 to 64 printable characters without spaces, quotes and backslashes")
    return value


class EnvelopeConfig(_Section):
    """Where the time and the message stand in a home-made wrapper around each record: paths of keys, with points between."""

    time: Annotated[str, Field(pattern=_PATH_OF_KEYS)]
    message: Annotated[str, Field(pattern=_PATH_OF_KEYS)]


class SourceConfig(_Section):
    """One of several recordings of a symbol. What it does not say is as the symbol says."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    paths: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    format: str = ""
    follow: bool = False
    envelope: EnvelopeConfig | None = None
    max_line_bytes: Annotated[int, Field(ge=1 << 10, le=1 << 30)] = 16_777_216
    rotate_wait: Duration = "5s"  # type: ignore[assignment]
    follow_delay: Annotated[Duration, Field(le=5 * 10**9)] = "20ms"  # type: ignore[assignment]

    @field_validator("paths")
    @classmethod
    def _are_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _named_paths(value)

    @model_validator(mode="after")
    def _follows_files(self) -> SourceConfig:
        _check_follows_files(self.paths, follow=self.follow)
        return self


class SymbolConfig(_Section):
    """One symbol: its input, and how its records are read."""

    id: Annotated[str, Field(min_length=1)] = ""
    name: str
    format: str
    paths: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    follow: bool = False
    on_gap: Literal["continue", "halt"] = "continue"
    on_bad_record: Literal["skip", "halt"] = "skip"
    on_damage: Literal["skip", "halt"] = "skip"
    price_decimals: Annotated[int, Field(ge=0, le=18)] = 8
    size_decimals: Annotated[int, Field(ge=0, le=18)] = 8
    depth: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    channel: str = ""
    connection_numbers: Literal["check", "ignore"] = "check"
    envelope: EnvelopeConfig | None = None
    max_line_bytes: Annotated[int, Field(ge=1 << 10, le=1 << 30)] = 16_777_216
    max_book_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 40)] = 1_073_741_824
    rotate_wait: Duration = "5s"  # type: ignore[assignment]
    follow_delay: Annotated[Duration, Field(le=5 * 10**9)] = "20ms"  # type: ignore[assignment]
    source_wait: Duration = "10s"  # type: ignore[assignment]
    source: Annotated[tuple[SourceConfig, ...], Field(strict=False, max_length=MOST_SOURCES)] = ()

    @property
    def inputs(self) -> tuple[SymbolConfig, ...]:
        """The symbol as each of its sources has it; itself if it has none."""
        return tuple(self._as_read(source) for source in self.source) or (self,)

    def _as_read(self, source: SourceConfig) -> SymbolConfig:
        own = {name: getattr(source, name) for name in source.model_fields_set - {"name"}}
        return self.model_copy(update=own | {"source": ()})

    @model_validator(mode="before")
    @classmethod
    def _is_read_from_sources(cls, values: Any) -> Any:
        """Fill in what the symbol has of its sources: all paths, and the first one's format."""
        sources = values.get("source") if isinstance(values, dict) else None
        if not isinstance(sources, list) or not sources or not all(isinstance(source, dict) for source in sources):
            return values
        if "paths" in values:
            raise ValueError("has paths beside [[symbol.source]]: give them to a source of their own")
        paths = [path for source in sources if isinstance(source.get("paths"), list) for path in source["paths"]]
        default = values.get("format") or sources[0].get("format")
        named = [{"format": default, **source} if default else source for source in sources]
        return {**({"format": default} if default else {}), **values, "source": named, "paths": paths or ["-"]}

    @model_validator(mode="after")
    def _sources_fit(self) -> SymbolConfig:
        names = [source.name for source in self.source]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise ValueError(f'there are two sources "{double}": give each a name of its own')
        known = venue_names()
        first = load_venue(self.format) if self.source else None
        for source in self.source:
            if source.format not in known:
                raise ValueError(f'source "{source.name}": format must be one of {", ".join(known)}')
            venue = load_venue(source.format)
            if first is not None and (venue.checksum, venue.snapshots) != (first.checksum, first.snapshots):
                raise ValueError(
                    f'source "{source.name}" is of another venue ({source.format}) than the first ({self.format}): '
                    "one book cannot be made of both; give each venue a symbol of its own"
                )
        return self

    @model_validator(mode="before")
    @classmethod
    def _id_is_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and "id" not in values and isinstance(values.get("name"), str):
            return {**values, "id": values["name"]}
        return values

    @field_validator("id")
    @classmethod
    def _fits_a_file_name(cls, value: str) -> str:
        if len(output_directory_name(value)) > _LONGEST_DIRECTORY_NAME_BYTES:
            raise ValueError(f"is too long: percent-encoded it may have {_LONGEST_DIRECTORY_NAME_BYTES} bytes")
        return value

    @field_validator("name")
    @classmethod
    def _is_symbol(cls, value: str) -> str:
        return symbol_name(value)

    @field_validator("format")
    @classmethod
    def _is_known(cls, value: str) -> str:
        names = venue_names()
        if value not in names:
            raise ValueError(f"must be one of {', '.join(names)}{_suggest(value, list(names)).partition('; known')[0]}")
        return value

    @model_validator(mode="after")
    def _has_channel(self) -> SymbolConfig:
        if not self.channel or self.is_address:
            return self
        channels = load_venue(self.format).channels
        if not channels:
            raise ValueError(f'channel = "{self.channel}": a symbol has one book only in format = "{self.format}": leave it out')
        if self.channel not in channels:
            known = ", ".join(f'"{name}"' for name in list(channels)[:_SHOWN_CHANNELS])
            known += ", …" if len(channels) > _SHOWN_CHANNELS else ""
            raise ValueError(f'channel = "{self.channel}": must be one of {known}, or "", by which the capture decides')
        return self

    @model_validator(mode="after")
    def _has_connection_numbers(self) -> SymbolConfig:
        if self.connection_numbers == "ignore" and not load_venue(self.format).numbers_connection:
            raise ValueError(f'connection_numbers = "ignore": format = "{self.format}" has no such numbers: leave it out')
        return self

    @property
    def is_address(self) -> bool:
        """Whether `channel` is the address of a connection, of a capture that has several."""
        return self.channel.startswith(("ws://", "wss://"))

    @field_validator("paths")
    @classmethod
    def _are_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _named_paths(value)

    @model_validator(mode="after")
    def _follows_files(self) -> SymbolConfig:
        _check_follows_files(self.paths, follow=self.follow and not self.source)
        return self


class ObjectPlaces(NamedTuple):
    """Where state and output lie in object storage."""

    state_url: str
    output_url: str


class Config(_Section):
    """The whole configuration. Input paths are relative to `base_dir`."""

    service: ServiceConfig = ServiceConfig()
    http: HttpConfig = HttpConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    output: OutputConfig = OutputConfig()
    log: LogConfig = LogConfig()
    symbol: Annotated[tuple[SymbolConfig, ...], Field(strict=False, min_length=1)]
    base_dir: Annotated[Path, Field(strict=False, exclude=True)] = Path()
    objects: Annotated[ObjectPlaces | None, Field(exclude=True)] = None
    """Where state and output lie, if not in directories; these are then this machine's own, below `scratch_dir`."""

    def of_shard(self) -> Config:
        """Returns the configuration with the symbols of its shard only, which may be none."""
        if not self.service.shard:
            return self
        shard = parse_shard(self.service.shard)
        return self.model_copy(update={"symbol": tuple(symbol for symbol in self.symbol if shard.has(symbol.id))})


_SECTIONS: dict[str, type[_Section]] = {
    "service": ServiceConfig,
    "http": HttpConfig,
    "checkpoint": CheckpointConfig,
    "output": OutputConfig,
    "log": LogConfig,
}


_KEYS = [*_SECTIONS, "symbol"]

_MESSAGES = {
    "missing": "is required",
    "model_type": "must be a table",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}
"""Messages in place of pydantic's, which are in terms of Python."""


def output_directory_name(symbol_id: str) -> str:
    """A symbol's id as a directory name, percent-encoded, so that no id can lead to another directory."""
    encoded = quote(symbol_id, safe="")
    return encoded.replace(".", "%2E") if set(encoded) == {"."} else encoded


def load_config(path: Path, environ: Mapping[str, str], shard: str | None = None) -> Config:
    """Read and validate a configuration file. Variables `COWBOOK_SECTION__KEY` of `environ` override its keys.

    A `shard` overrides that of the file and of the environment.

    Relative paths are resolved: `state_dir` and `output_dir` against `$STATE_DIRECTORY` if that is set, all others against the
    file's directory. Raises ConfigError with every problem.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        advice = "; `cowbook init CAPTURES` prints one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}{advice}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"is not TOML: {error}"]) from error
    own = {**environ, f"{ENVIRONMENT_PREFIX}SERVICE__SHARD": shard} if shard else environ
    problems, variables = _apply_environment(values, own)
    problems += _find_duplicates(values)
    objects = _take_urls(values, problems)
    config = _validate(values, variables, problems)
    if config is None:
        raise ConfigError(str(path), problems)
    directory = path.resolve().parent
    state_directory = Path(environ.get("STATE_DIRECTORY", "").split(":")[0] or directory)
    service = config.service.model_copy(
        update={
            "state_dir": state_directory / config.service.state_dir,
            "output_dir": state_directory / config.service.output_dir,
        }
    )
    problems += _find_shared_place(service)
    if problems:
        raise ConfigError(str(path), problems)
    return config.model_copy(update={"service": service, "base_dir": directory, "objects": objects})


def _take_urls(values: dict[str, Any], problems: list[str]) -> ObjectPlaces | None:
    """URLs of `state_dir` and `output_dir`, in whose places directories below `scratch_dir` are put; None without any."""
    service = values.get("service")
    if not isinstance(service, dict):
        return None
    urls = {key: str(service[key]).rstrip("/") for key in ("state_dir", "output_dir") if is_url(service.get(key))}
    if not urls:
        return None
    scratch = service.get("scratch_dir")
    if len(urls) == 1:
        problems.append("[service] state_dir and output_dir must both be URLs, or both be directories")
    elif not isinstance(scratch, str) or not scratch or is_url(scratch):
        problems.append("[service] scratch_dir must be a directory of this machine: state and output are made there, then sent")
    elif any(a == b or a.startswith(f"{b}/") for a, b in (tuple(urls.values()), tuple(urls.values())[::-1])):
        problems.append("[service] state_dir and output_dir must not lie in each other")
    place = Path(str(scratch or "."))
    for key in urls:
        service[key] = str(place / key.removesuffix("_dir"))
    return None if len(urls) == 1 else ObjectPlaces(urls["state_dir"], urls["output_dir"])


def _find_shared_place(service: ServiceConfig) -> list[str]:
    """State is private and output is public, so neither place may be the other one; links are followed."""
    state, output = (Path(os.path.realpath(path)) for path in (service.state_dir, service.output_dir))
    if state == output:
        return ["[service] state_dir and output_dir are the same: give each its own"]
    if output in state.parents:
        return [f"[service] state_dir lies in output_dir ({output}), where others read: give it a place of its own"]
    return []


def _apply_environment(values: dict[str, Any], environ: Mapping[str, str]) -> tuple[list[str], dict[tuple[str, str], str]]:
    """Override the file's values by the environment's. Returns the problems, and the variable of each (section, key)."""
    problems = []
    variables = {}
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        section, separator, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            meant = next((known for known in _SECTIONS if section == known or section.startswith(f"{known}_")), None)
            if meant is not None:
                key = section.removeprefix(meant).removeprefix("_") or "key"
                right = f"{ENVIRONMENT_PREFIX}{meant}__{key}".upper()
                problems.append(f"{name}: two underscores stand between section and key: {right}")
            continue
        if section == "symbol":
            problems.append(f"{name}: symbols are set in the file only")
            continue
        if section not in _SECTIONS:
            problems.append(f"{name}: there is no section [{section}]{_suggest(section, _SECTIONS)}")
            continue
        fields = _SECTIONS[section].model_fields
        if key not in fields:
            problems.append(f"{name}: [{section}] has no key {key}{_suggest(key, fields)}")
            continue
        table = values.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = _environment_value(environ[name], fields[key].annotation)
            variables[section, key] = name
    return problems, variables


def _environment_value(text: str, annotation: Any) -> object:
    """A variable's text converted to its key's type. Text that does not fit is returned unchanged; validation refuses it."""
    if annotation is int and re.fullmatch(r"\d[\d_]*", text):
        return int(text)
    if annotation is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if getattr(annotation, "__origin__", None) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _validate(values: dict[str, Any], variables: Mapping[tuple[str, str], str], problems: list[str]) -> Config | None:
    """Validate the values. Returns None, after adding to `problems`, if something is wrong."""
    own = [key for key in ("base_dir", "objects") if values.pop(key, None) is not None]
    problems += [f"unknown key {key}{_suggest(key, _KEYS)}" for key in own]  # the model's fields, which the file must not set
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        for problem in error.errors():
            if not _is_consequence(problem, values):
                variable = variables.get(problem["loc"][:2])  # type: ignore[arg-type]
                problems.append(_explain(problem, values) + (f", from {variable}" if variable else ""))
        return None


def _is_consequence(problem: Any, values: dict[str, Any]) -> bool:
    """Whether a problem is only a consequence of another: symbols that are invalid, the id of a symbol without a name."""
    location = problem["loc"]
    if location == ("symbol",):
        return problem["type"] == "too_short" and bool(values.get("symbol"))
    if len(location) == 3 and location[2] == "id":
        table = values["symbol"][location[1]]
        return isinstance(table, dict) and "id" not in table
    return False


def _explain(problem: Any, values: dict[str, Any]) -> str:
    """One line of text for one of pydantic's problems."""
    location = list(problem["loc"])
    model: type[_Section] = Config
    where = []
    if location and location[0] in _SECTIONS:
        section = location.pop(0)
        model = _SECTIONS[section]
        where.append(f"[{section}]")
    elif len(location) > 1 and location[0] == "symbol":
        index = location[1]
        del location[:2]
        model = SymbolConfig
        table = values["symbol"][index]
        name = table.get("id", table.get("name")) if isinstance(table, dict) else None
        where.append(f"[[symbol]] #{index + 1}" + (f' "{name}"' if name else ""))
        if len(location) > 1 and location[0] == "source" and isinstance(location[1], int):
            where.append(f"[[symbol.source]] #{location[1] + 1}")
            del location[:2]
            model = SourceConfig
    if problem["type"] == "extra_forbidden":
        key = str(location[-1])
        known = _KEYS if model is Config else list(model.model_fields)
        return " ".join([*where, f"unknown key {key}{_suggest(key, known)}"])
    where += [str(part) if isinstance(part, str) else f"#{part + 1}" for part in location]
    message = _MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    given = problem.get("input")
    shown = f" (is {given!r})" if problem["type"] != "missing" and isinstance(given, str | int | float | bool) else ""
    return f"{' '.join(where)}: {message}{shown}"


def _suggest(key: str, known: Mapping[str, Any] | list[str]) -> str:
    """A hint to the known key that is most like a wrong one, or to all of them."""
    match = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]}?" if match else f"; known: {', '.join(known)}"


def _find_duplicates(values: Mapping[str, Any]) -> list[str]:
    """Symbols with the same id, found in the file's raw values, so that other problems do not hide them."""
    problems = []
    seen: dict[str, int] = {}
    tables = values.get("symbol")
    for index, table in enumerate(tables if isinstance(tables, list) else [], start=1):
        symbol_id = table.get("id", table.get("name")) if isinstance(table, dict) else None
        if not isinstance(symbol_id, str):
            continue
        # Some file systems ignore case.
        directory = output_directory_name(symbol_id).lower()
        if directory in seen:
            problems.append(f'[[symbol]] #{index} "{symbol_id}": id is that of #{seen[directory]} already: give each its own id')
        seen.setdefault(directory, index)
    return problems
