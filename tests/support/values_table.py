"""The chart's values as a table, made of the comments in values.yaml: `# -- text`, right above a key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

BEGIN, END = "<!-- values: made of values.yaml by `make helm-golden` -->", "<!-- end of values -->"

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][\w.]*):")
_COMMENT = re.compile(r"^ *# -- (?P<text>.*)$")


@dataclass(frozen=True)
class Value:
    """One documented value."""

    key: str
    """Dotted."""
    default: Any
    text: str


def documented(text: str) -> Iterator[Value]:
    """The documented values of a values.yaml, in its order."""
    defaults = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    comment = ""
    for line in text.splitlines():
        if found := _COMMENT.match(line):
            comment = found["text"]
        elif found := _LINE.match(line):
            indent = len(found["indent"])
            path = [(depth, key) for depth, key in path if depth < indent] + [(indent, found["key"])]
            if comment:
                keys = [key for _, key in path]
                yield Value(".".join(keys), _default(defaults, keys), comment)
            comment = ""


def undocumented(text: str) -> set[str]:
    """Dotted keys that no comment covers, neither their own nor that of a table above them."""
    known = [value.key for value in documented(text)]
    return {
        leaf
        for leaf in _leaves(yaml.safe_load(text), ())
        if not any(leaf == key or leaf.startswith(f"{key}.") for key in known)
    }


def table(text: str) -> str:
    """The values as Markdown, between the two markers."""
    rows = [f"| `{value.key}` | {_shown(value.default)} | {value.text} |" for value in documented(text)]
    return "\n".join([BEGIN, "", "| key | default | what it is |", "|---|---|---|", *rows, "", END])


def with_table(readme: str, text: str) -> str:
    """A README with the table of today between its markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + table(text) + after


def _default(defaults: Any, keys: list[str]) -> Any:
    for key in keys:
        defaults = defaults[key]
    return defaults


def _leaves(values: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from _leaves(value, (*path, str(key)))
    else:
        yield ".".join(path)


def _shown(value: Any) -> str:
    """A default in one line of code; long ones are looked up in values.yaml."""
    if value == "":
        return ""
    line = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    return f"`{line}`" if len(line) <= 60 else "see values.yaml"
