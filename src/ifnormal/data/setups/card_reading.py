"""Reading of the YAML files that describe families of setups, into cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import yaml

from ifnormal.common.errors import UserError, one_line
from ifnormal.data.setups.card import Builder, Card, Exposure, Group
from ifnormal.data.setups.card_checks import (
    choice,
    classes,
    filled,
    mapping,
    mistake,
    require_all,
    require_known,
    whole,
)
from ifnormal.data.sources.source import Source

SOURCES = "sources.yaml"  # describes the sources; every other file describes a family

_REQUIRED = ("family", "title", "builder", "source", "size", "channels", "exposure", "setups")
_OPTIONAL = {
    "extends": "",
    "attribute": "class",
    "pad": 0,
    "pictures": "photographs",
    "classes": {},
    "avoid": {},
    "options": {},
    "budgets": {},
}
_ENTRY = ("id", "group", "normal", "each")
# What a setup may say differently from its family.
_OWN = ("name", "words", "normal", "anomalies", "channels", "size", "options", "budget")
_BUDGETS = ("small", "paper")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read_cards(files: Sequence[Path]) -> list[Card]:
    """Read the cards of all families, file by file.

    Raises:
        UserError: a file cannot be read, or a key of it is missing, unknown or of a wrong kind.
    """
    loaded = {path: mapping(_load(path), path, "the file") for path in files}
    sources = {
        str(name): _source(str(name), value, path)
        for path in files
        if path.name == SOURCES
        for name, value in loaded[path].items()
    }
    families: dict[str, dict[str, Any]] = {}
    cards: list[Card] = []
    described = [path for path in files if path.name != SOURCES]
    # A family that extends another is read after it.
    for path in sorted(described, key=lambda path: "extends" in loaded[path]):
        family = _family(loaded[path], path, families)
        families[str(family["family"])] = family
        cards += _Family(path, family, sources).cards()
    return cards


def _load(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}); put that right.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML ({one_line(error)}); correct it.") from None


def _source(name: str, value: Any, path: Path) -> Source:
    value = mapping(value, path, name)
    known = [field.name for field in fields(Source) if field.name != "name"]
    require_known(value, known, path, f"{name}.")
    for key, text in value.items():
        if not isinstance(text, str):
            raise mistake(path, f"{name}.{key}", "must be text")
    return Source(name, **value)


def _family(
    own: Mapping[str, Any], path: Path, families: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """All keys of a family: its own, those of the family it extends, and defaults."""
    require_known(own, (*_REQUIRED, *_OPTIONAL), path, "")
    base: Mapping[str, Any] = {}
    if "extends" in own:
        if own["extends"] not in families:
            raise mistake(path, "extends", f"names no family; there is {', '.join(families)}")
        base = families[own["extends"]]
    family = {**_OPTIONAL, **base, **own}
    require_all(family, _REQUIRED, path, "")
    return family


class _Family:
    """A family's file and keys, which its cards are made of."""

    def __init__(self, path: Path, keys: dict[str, Any], sources: Mapping[str, Source]) -> None:
        self.path, self.keys, self.sources = path, keys, sources

    def cards(self) -> list[Card]:
        """The cards of all setups in the file."""
        entries = self.keys["setups"]
        if not isinstance(entries, list) or not entries:
            raise mistake(self.path, "setups", "must be a list of at least one entry")
        cards: list[Card] = []
        for number, entry in enumerate(entries):
            key = f"setups[{number}]"
            entry = mapping(entry, self.path, key)
            require_all(entry, _ENTRY, self.path, f"{key}.")
            require_known(entry, _ENTRY, self.path, f"{key}.")
            if not isinstance(entry["each"], list) or not entry["each"]:
                raise mistake(self.path, f"{key}.each", "must be a list of setups")
            for place, one in enumerate(entry["each"]):
                where = f"{key}.each[{place}]"
                cards.append(self._card(entry, self._one(one, where), key, where))
        return cards

    def _one(self, value: Any, key: str) -> dict[str, Any]:
        """A setup as a mapping; 7 and [1, 7] are short for one with these normal classes."""
        one = dict(value) if isinstance(value, dict) else {"normal": value}
        require_known(one, _OWN, self.path, f"{key}.")
        if "normal" not in one and "name" not in one:
            raise mistake(self.path, f"{key}.name", "is missing; add it")
        one["normal"] = classes(one.get("normal", []), self.path, f"{key}.normal")
        one["anomalies"] = classes(one.get("anomalies", []), self.path, f"{key}.anomalies")
        return one

    def _card(self, entry: dict[str, Any], one: dict[str, Any], key: str, where: str) -> Card:
        path, keys = self.path, self.keys
        builder = choice(keys["builder"], get_args(Builder), path, "builder")
        options = {**keys["options"], **mapping(one.get("options", {}), path, f"{where}.options")}
        normal = one["normal"]
        names = mapping(keys["classes"], path, "classes")
        if builder == "colored":
            digit, color = _digit_and_color(normal, path, where)
            options |= {"digit": digit, "color": color}
            shown, words = [_DIGITS[digit], color], {"digit": str(digit), "color": color}
            normal = ()
        else:
            shown, words = [str(each) for each in normal], {}
        name = str(one.get("name", "+".join(shown)))
        said = str(one.get("words") or " or ".join(str(names.get(each, each)) for each in shown))
        words |= {"name": name, "words": said}
        return Card(
            id=f"{keys['family']}/{filled(entry['id'], words, path, f'{key}.id')}",
            family=str(keys["family"]),
            title=f"{keys['title']}: {said}",
            normal=filled(entry["normal"], words, path, f"{key}.normal"),
            builder=builder,
            source=self._source(str(keys["source"]).format(name=name), "source"),
            exposure=self._exposure(),
            group=choice(entry["group"], get_args(Group), path, f"{key}.group"),
            size=whole(one.get("size", keys["size"]), 4, path, "size"),
            channels=choice(one.get("channels", keys["channels"]), (1, 3), path, "channels"),
            file=path,
            pad=whole(keys["pad"], 0, path, "pad"),
            pictures=choice(keys["pictures"], ("drawings", "photographs"), path, "pictures"),
            attribute=str(keys["attribute"]),
            normal_classes=normal,
            anomaly_classes=one["anomalies"],
            classes={str(k): str(v) for k, v in names.items()},
            options=options,
            budgets=self._budgets(one.get("budget", {}), where),
        )

    def _source(self, name: str, key: str) -> Source:
        if not name or "/" in name or "\\" in name or name.startswith("."):
            raise mistake(self.path, key, f"{name!r} is no name of a folder in the data root")
        return self.sources.get(name) or Source(name, name)

    def _exposure(self) -> Exposure:
        value = mapping(self.keys["exposure"], self.path, "exposure")
        require_known(value, ("use", "of"), self.path, "exposure.")
        use = choice(value.get("use", "first"), ("first", "all"), self.path, "exposure.use")
        of = value.get("of")
        shares = dict.fromkeys(map(str, of), 1.0) if isinstance(of, list) else of
        if not isinstance(shares, dict) or not shares:
            raise mistake(
                self.path, "exposure.of", "must be a list of sources, or sources with their shares"
            )
        for name, share in shares.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not share > 0:
                raise mistake(self.path, f"exposure.of.{name}", "must be a positive share")
        sources = tuple(
            (self._source(str(name), "exposure.of"), float(share)) for name, share in shares.items()
        )
        avoid = {
            str(name): tuple(map(str, classes(alike, self.path, f"avoid.{name}")))
            for name, alike in mapping(self.keys["avoid"], self.path, "avoid").items()
        }
        return Exposure(use, sources, avoid)

    def _budgets(self, own: Any, where: str) -> dict[str, dict[str, Any]]:
        budgets = mapping(self.keys["budgets"], self.path, "budgets")
        own = mapping(own, self.path, f"{where}.budget")
        for key in budgets:
            choice(key, (*_BUDGETS, "both"), self.path, f"budgets.{key}")
        both, *named = (
            mapping(budgets.get(name, {}), self.path, f"budgets.{name}")
            for name in ("both", *_BUDGETS)
        )
        return {
            name: {**both, **budget, **own} for name, budget in zip(_BUDGETS, named, strict=True)
        }


def _digit_and_color(normal: tuple[str | int, ...], path: Path, key: str) -> tuple[int, str]:
    if len(normal) != 2 or normal[0] not in _DIGITS:
        raise mistake(path, key, "must be a digit in a word and a colour, such as [one, cyan]")
    return _DIGITS.index(str(normal[0])), str(normal[1])
