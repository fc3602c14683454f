"""How the run was made: the nested configuration as titled lists of short lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ifnormal.report.wording import shortened


@dataclass
class Group:
    """A titled list of options and their values, as written."""

    title: str
    lines: list[tuple[str, str]] = field(default_factory=list)


def make_groups(config: Mapping[str, Any]) -> list[Group]:
    """The configuration: plain values first, then one group for each nested object."""
    general = Group("Run")
    nested: list[Group] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            nested.append(Group(_titled(key), _lines(value)))
        else:
            general.lines.append((_words(key), written(value)))
    return [group for group in [general, *nested] if group.lines]


def _lines(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for key, value in options.items():
        name = prefix + _words(key)
        if isinstance(value, Mapping):
            lines += _lines(value, prefix=f"{name} · ")
        else:
            lines.append((name, written(value)))
    return lines


def _words(key: object) -> str:
    return shortened(str(key).replace("_", " "))


def _titled(key: object) -> str:
    words = _words(key)
    return words[:1].upper() + words[1:]


def written(value: Any) -> str:
    """An option's value in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return shortened(", ".join(written(item) for item in value)) or "none"
    return shortened(str(value))
