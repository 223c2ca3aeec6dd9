"""Pages that are made: of the command line's parser, the configuration's models, and the library's docstrings."""

from __future__ import annotations

import argparse
import re
import types
import typing
from typing import Any

import annotated_types
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

import cowbook
from cowbook.cli.parser import Parser, find_parsers, make_parser
from cowbook.config import Config, parse_duration


def command_line_page() -> str:
    """Each command with its usage, arguments, options and examples."""
    parser = make_parser()
    lines = ["# Command line", "", "`python -m cowbook` is the same command.", "", *_epilog(parser)]
    for each in find_parsers(parser)[1:]:
        lines += ["", f"## {each.prog}", "", str(each.description), "", "```text", each.format_usage().strip(), "```", ""]
        rows = [_argument(action) for action in each._actions if action.dest != "help"]  # noqa: SLF001 - argparse has no other way
        if rows:
            lines += ["| argument | |", "|---|---|", *rows, ""]
        lines += _epilog(each)
    return "\n".join(lines) + "\n"


def _epilog(parser: Parser) -> list[str]:
    return ["```text", str(parser.epilog), "```"] if parser.epilog else []


def _argument(action: argparse.Action) -> str:
    """A row of the table: an option with its value, or a positional argument's name."""
    names = ", ".join(action.option_strings)
    value = action.metavar or (action.dest.upper() if action.nargs != 0 and names else action.dest)
    shown = f"{names} {value}" if names and action.nargs != 0 else names or str(value)
    if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no other way
        text = "; ".join(f"`{choice.dest}`: {choice.help}" for choice in action._choices_actions)  # noqa: SLF001
    else:
        text = action.help or ""
    return f"| `{_code(shown)}` | {_cell(text)} |"


def _code(text: str) -> str:
    """Code in a cell of a table."""
    return text.replace("|", "\\|")


def _cell(text: str) -> str:
    """Words in a cell of a table, in which <id> is no tag."""
    return _code(text).replace("<", "&lt;").replace("\n", " ")


def configuration_page(sample: str) -> str:
    """Each section with its keys: type and default of the models, and what config/cowbook.toml says of them.

    Raises ValueError if the sample says nothing of a key.
    """
    comments = read_comments(sample)
    lines = [
        "# Configuration",
        "",
        "A configuration is a TOML file. [config/cowbook.toml](config/cowbook.toml) has every key with its default.",
        "Durations are a number and a unit: ns, us, ms, s, min, h, d.",
    ]
    for section, field in Config.model_fields.items():
        model = _model(field)
        if model is None:
            continue
        title = f"[[{section}]]" if section == "symbol" else f"[{section}]"
        lines += ["", f"## {title}", "", str(model.__doc__), "", "| key | type | default | |", "|---|---|---|---|"]
        for key, described in model.model_fields.items():
            if (section, key) not in comments:
                raise ValueError(f"config/cowbook.toml: [{section}] {key} has no comment")
            cells = (f"`{key}`", type_of(described), _default(described), comments[section, key])
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        if section != "symbol":
            lines += ["", f"A variable of the environment overrides each key: `COWBOOK_{section.upper()}__…`."]
    return "\n".join(lines) + "\n"


def read_comments(sample: str) -> dict[tuple[str, str], str]:
    """The comment behind each key of the sample, by section and key. A key without a default stands in a comment itself."""
    comments, section = {}, ""
    for line in sample.splitlines():
        if heading := re.match(r"\[+(\w+)\]", line):
            section = heading[1]
        elif key := re.match(r"(?:# )?(\w+) = [^#]*#\s*(.*)", line):
            comments[section, key[1]] = key[2]
    return comments


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a section, or of each table of a list; None for what is no section."""
    inner = typing.get_args(field.annotation)[0] if typing.get_args(field.annotation) else field.annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def type_of(field: FieldInfo) -> str:
    """What a key takes, in a few words."""
    validators = [item.func for item in field.metadata if isinstance(item, BeforeValidator)]
    if parse_duration in validators:
        return "duration"
    annotation = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return _choices(annotation)
    if typing.get_origin(annotation) is tuple:
        inner = typing.get_args(annotation)[0]
        return f"list of {_choices(inner) if typing.get_origin(inner) is typing.Literal else 'texts'}"
    if any(isinstance(each, type) and issubclass(each, BaseModel) for each in typing.get_args(annotation)):
        return "table"
    names = {bool: "true or false", int: "whole number", str: "text"}
    return names.get(annotation, "directory") + _limits(field.metadata)  # type: ignore[call-overload, no-any-return]


def _choices(annotation: Any) -> str:
    return ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))


def _limits(metadata: list[Any]) -> str:
    """The least and the largest number, where the model has them."""
    least = next((item.ge for item in metadata if isinstance(item, annotated_types.Ge)), None)
    above = next((item.gt for item in metadata if isinstance(item, annotated_types.Gt)), None)
    most = next((item.le for item in metadata if isinstance(item, annotated_types.Le)), None)
    below = next((item.lt for item in metadata if isinstance(item, annotated_types.Lt)), None)
    words = {" from ": least, " above ": above, " to ": most, " below ": below}
    return "".join(f"{word}{limit:,}" for word, limit in words.items() if limit is not None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "all of them"
    return f"`{value:,}`" if isinstance(value, int) else f"`{value}`" if str(value) else "empty"


def library_page() -> str:
    """Every public name with its docstring."""
    lines = ["# Library reference", "", "[The library](library.md) has examples.", ""]
    for name in cowbook.__all__:
        value = getattr(cowbook, name)
        if isinstance(value, types.FunctionType):
            lines += ["```{eval-rst}", f".. autofunction:: {value.__module__}.{name}", "```", ""]
        elif isinstance(value, type):
            lines += ["```{eval-rst}", f".. autoclass:: {value.__module__}.{name}", "```", ""]
    return "\n".join(lines)
