"""From the YAML of a family to its cards, with every mistake named by file and key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import yaml

from ifnormal.common.errors import UserError, one_line
from ifnormal.data.setups.card import Builder, Card, Exposure, Group
from ifnormal.data.sources.source import Source

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
# What one setup may say differently from its family.
_OWN = ("name", "words", "normal", "anomalies", "channels", "size", "options", "budget")
_BUDGETS = ("small", "paper")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read_cards(files: Iterable[Path]) -> list[Card]:
    """Read families, in order, and the sources that they name.

    Raises:
        UserError: a file cannot be read or a key of it is missing, unknown or of a wrong kind.
    """
    files = list(files)
    sources: dict[str, Source] = {}
    loaded = {path: _mapping(_load(path), path, "the file") for path in files}
    for path in files:
        if path.name == SOURCES:
            for name, value in loaded[path].items():
                sources[str(name)] = _source(str(name), value, path)
    families: dict[str, dict[str, Any]] = {}
    cards: list[Card] = []
    # Families that extend another come after it.
    described = [path for path in files if path.name != SOURCES]
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


def _family(
    own: Mapping[str, Any], path: Path, families: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """All keys of a family, with what it takes from another and the defaults."""
    for key in own:
        if key not in (*_REQUIRED, *_OPTIONAL):
            raise _mistake(path, key, f"is unknown; the keys are {', '.join(_known())}")
    base: Mapping[str, Any] = {}
    if "extends" in own:
        if own["extends"] not in families:
            raise _mistake(path, "extends", f"names no family; there is {', '.join(families)}")
        base = families[own["extends"]]
    family = {**_OPTIONAL, **base, **own}
    for key in _REQUIRED:
        if key not in family:
            raise _mistake(path, key, "is missing; add it")
    return family


def _known() -> tuple[str, ...]:
    return (*_REQUIRED, *_OPTIONAL)


class _Family:
    """A family's file, and where the mistakes in it are."""

    def __init__(self, path: Path, keys: dict[str, Any], sources: Mapping[str, Source]) -> None:
        self.path, self.keys, self.sources = path, keys, sources

    def cards(self) -> list[Card]:
        """Every setup that the file expands to."""
        entries = self.keys["setups"]
        if not isinstance(entries, list) or not entries:
            raise _mistake(self.path, "setups", "must be a list of at least one entry")
        cards: list[Card] = []
        for number, entry in enumerate(entries):
            key = f"setups[{number}]"
            entry = _mapping(entry, self.path, key)
            for name in _ENTRY:
                if name not in entry:
                    raise _mistake(self.path, f"{key}.{name}", "is missing; add it")
            for name in entry:
                if name not in _ENTRY:
                    raise _mistake(
                        self.path, f"{key}.{name}", f"is unknown; the keys are {', '.join(_ENTRY)}"
                    )
            if not isinstance(entry["each"], list) or not entry["each"]:
                raise _mistake(self.path, f"{key}.each", "must be a list of setups")
            for place, one in enumerate(entry["each"]):
                cards.append(self._card(entry, self._one(one, f"{key}.each[{place}]"), key, place))
        return cards

    def _one(self, value: Any, key: str) -> dict[str, Any]:
        """A setup as a mapping: 7 and [1, 7] are short for those with the normal classes."""
        if isinstance(value, dict):
            for name in value:
                if name not in _OWN:
                    raise _mistake(
                        self.path, f"{key}.{name}", f"is unknown; the keys are {', '.join(_OWN)}"
                    )
            one = dict(value)
            if "normal" not in one and "name" not in one:
                raise _mistake(self.path, f"{key}.name", "is missing; add it")
            one.setdefault("normal", [])
        else:
            one = {"normal": value}
        one["normal"] = _classes(one["normal"], self.path, f"{key}.normal")
        one["anomalies"] = _classes(one.get("anomalies", []), self.path, f"{key}.anomalies")
        return one

    def _card(self, entry: dict[str, Any], one: dict[str, Any], key: str, place: int) -> Card:
        path, keys, where = self.path, self.keys, f"{key}.each[{place}]"
        builder = _choice(keys["builder"], get_args(Builder), path, "builder")
        options = {**keys["options"], **_mapping(one.get("options", {}), path, f"{where}.options")}
        normal = one["normal"]
        names = _mapping(keys["classes"], path, "classes")
        if builder == "colored":
            digit, color = _digit_and_color(normal, path, f"{where}")
            options |= {"digit": digit, "color": color}
            shown, words = [_DIGITS[digit], color], {"digit": str(digit), "color": color}
            normal = ()
        else:
            shown = [str(each) for each in normal]
            words = {}
        name = str(one.get("name", "+".join(shown)))
        said = str(one.get("words") or " or ".join(str(names.get(each, each)) for each in shown))
        words |= {"name": name, "words": said}
        return Card(
            id=f"{keys['family']}/{_filled(entry['id'], words, path, f'{key}.id')}",
            family=str(keys["family"]),
            title=f"{keys['title']}: {said}",
            normal=_filled(entry["normal"], words, path, f"{key}.normal"),
            builder=builder,
            source=self._source(str(keys["source"]).format(name=name), "source"),
            exposure=self._exposure(),
            group=_choice(entry["group"], get_args(Group), path, f"{key}.group"),
            size=_whole(one.get("size", keys["size"]), 4, path, "size"),
            channels=_choice(one.get("channels", keys["channels"]), (1, 3), path, "channels"),
            file=path,
            pad=_whole(keys["pad"], 0, path, "pad"),
            pictures=_choice(keys["pictures"], ("drawings", "photographs"), path, "pictures"),
            attribute=str(keys["attribute"]),
            normal_classes=normal,
            anomaly_classes=one["anomalies"],
            classes={str(k): str(v) for k, v in names.items()},
            options=options,
            budgets=self._budgets(one.get("budget", {}), where),
        )

    def _source(self, name: str, key: str) -> Source:
        if not name or "/" in name or "\\" in name or name.startswith("."):
            raise _mistake(self.path, key, f"{name!r} is no name of a folder in the data root")
        return self.sources.get(name) or Source(name, name)

    def _exposure(self) -> Exposure:
        value = _mapping(self.keys["exposure"], self.path, "exposure")
        for key in value:
            if key not in ("use", "of"):
                raise _mistake(self.path, f"exposure.{key}", "is unknown; the keys are use, of")
        use = _choice(value.get("use", "first"), ("first", "all"), self.path, "exposure.use")
        of = value.get("of")
        shares = dict.fromkeys(map(str, of), 1.0) if isinstance(of, list) else of
        if not isinstance(shares, dict) or not shares:
            raise _mistake(
                self.path, "exposure.of", "must be a list of sources, or sources with their shares"
            )
        for name, share in shares.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not share > 0:
                raise _mistake(self.path, f"exposure.of.{name}", "must be a positive share")
        sources = tuple(
            (self._source(str(name), "exposure.of"), float(share)) for name, share in shares.items()
        )
        avoid = _mapping(self.keys["avoid"], self.path, "avoid")
        return Exposure(
            use,
            sources,
            {
                str(name): tuple(map(str, _classes(alike, self.path, f"avoid.{name}")))
                for name, alike in avoid.items()
            },
        )

    def _budgets(self, own: Any, where: str) -> dict[str, dict[str, Any]]:
        budgets = _mapping(self.keys["budgets"], self.path, "budgets")
        own = _mapping(own, self.path, f"{where}.budget")
        for key in budgets:
            _choice(key, (*_BUDGETS, "both"), self.path, f"budgets.{key}")
        both = _mapping(budgets.get("both", {}), self.path, "budgets.both")
        return {
            name: {
                **both,
                **_mapping(budgets.get(name, {}), self.path, f"budgets.{name}"),
                **own,
            }
            for name in _BUDGETS
        }


def _source(name: str, value: Any, path: Path) -> Source:
    value = _mapping(value, path, name)
    known = [field.name for field in fields(Source) if field.name != "name"]
    for key, text in value.items():
        if key not in known:
            raise _mistake(path, f"{name}.{key}", f"is unknown; the keys are {', '.join(known)}")
        if not isinstance(text, str):
            raise _mistake(path, f"{name}.{key}", "must be text")
    return Source(name, **value)


def _digit_and_color(normal: tuple[str | int, ...], path: Path, key: str) -> tuple[int, str]:
    if len(normal) != 2 or normal[0] not in _DIGITS:
        raise _mistake(path, key, "must be a digit in a word and a colour, such as [one, cyan]")
    return _DIGITS.index(str(normal[0])), str(normal[1])


def _mapping(value: Any, path: Path, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mistake(path, key, "must be keys with values")
    return value


def _classes(value: Any, path: Path, key: str) -> tuple[str | int, ...]:
    values = value if isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, (str, int)):
            raise _mistake(path, key, "must be names of classes or their numbers")
    if len(set(map(str, values))) != len(values):
        raise _mistake(path, key, "names a class twice")
    return tuple(values)


def _choice(value: Any, choices: tuple[Any, ...], path: Path, key: str) -> Any:
    if isinstance(value, bool) or value not in choices:
        raise _mistake(path, key, f"is {value!r}, must be one of {', '.join(map(str, choices))}")
    return value


def _whole(value: Any, least: int, path: Path, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _mistake(path, key, f"must be a whole number of at least {least}")
    return value


def _filled(text: Any, words: Mapping[str, str], path: Path, key: str) -> str:
    try:
        return str(text).format(**words)
    except (KeyError, ValueError, IndexError):
        raise _mistake(
            path, key, f"may only hold {', '.join('{' + word + '}' for word in words)}"
        ) from None


def _mistake(path: Path, key: str, what: str) -> UserError:
    return UserError(f"{path}: the key {key} {what}.")


FOLDER = Path(__file__).parents[2] / "benchmarks" / "setups"


VARIABLE = "IFNORMAL_CARDS"


SOURCES = "sources.yaml"


def all_cards(extra: Path | None = None) -> dict[str, Card]:
    """Read every card there is.

    Args:
        extra: a folder of more cards; so is the one that IFNORMAL_CARDS names.

    Returns:
        id -> card: file by file, in the order of the file.

    Raises:
        UserError: a file is no card, or two cards have one id.
    """
    files = card_files(extra)
    facts = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return dict(_read(facts))


@lru_cache(maxsize=4)
def _read(facts: tuple[tuple[Path, int, int], ...]) -> dict[str, Card]:
    """Read files; whoever changes one gives it another time or size."""
    pass

    cards: dict[str, Card] = {}
    for card in read_cards([path for path, *_ in facts]):
        if card.id in cards:
            raise UserError(
                f"{card.file} describes {card.id}, and so does {cards[card.id].file}; "
                "give one of them another id."
            )
        cards[card.id] = card
    return cards


def card(id: str, extra: Path | None = None) -> Card:
    """The card of a setup.

    Raises:
        UserError: there is none, or a file is no card.
    """
    cards = all_cards(extra)
    if id in cards:
        return cards[id]
    family = id.split("/")[0]
    alike = [known for known in cards if known.split("/")[0] == family]
    known = ", ".join(alike[:6] or sorted({each.family + "/…" for each in cards.values()}))
    raise UserError(
        f"There is no setup {id!r}; choose one such as {known}, or write a card for it and name "
        f"its folder with {VARIABLE}."
    )


def card_files(extra: Path | None = None) -> list[Path]:
    """All files of cards: ours, those of IFNORMAL_CARDS, those of `extra`."""
    named = os.environ.get(VARIABLE)
    files: dict[Path, Path] = {}  # by where they are, as two names may lead to one folder
    for folder in (FOLDER, Path(named) if named else None, extra):
        if folder is None:
            continue
        found = sorted(path for path in folder.glob("*.yaml") if path.is_file())
        if not found:
            raise UserError(
                f"{folder} holds no cards (*.yaml); write one there or name another folder."
            )
        real = folder.resolve()
        for path in found:
            files.setdefault(path.resolve() if path.is_symlink() else real / path.name, path)
    return list(files.values())
