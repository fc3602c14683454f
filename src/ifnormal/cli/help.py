"""The text of `--help`: options under titles, the rarely needed ones only with `--help-all`."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentParser

_METAVARS = {"Path": "PATH", "float": "X", "int": "N"}
_OPTIONS_FILE = "a YAML or JSON file that sets the options of this group"


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds defaults where there are any; values are named by their type."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        kind = str(getattr(action, "_typehint", action.type))
        names = (name for part, name in _METAVARS.items() if part in kind)
        return next(names, super()._get_default_metavar_for_optional(action).rpartition(".")[2])

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.metavar == "CONFIG":  # the words of jsonargparse do not say what is in the file
            return _OPTIONS_FILE
        action.help = (action.help or "").rstrip(".")
        if action.default is None or action.default is False or action.default in ("", (), []):
            return action.help
        return super()._get_help_string(action)


class Parser(ArgumentParser):
    """Shows options with dashes; `underscored` takes them back to the dataclasses' names."""

    shown: int | None = None  # so many groups of options; None shows all

    def __init__(self, **options: Any) -> None:
        super().__init__(
            exit_on_error=False, allow_abbrev=False, formatter_class=_Formatter, **options
        )

    def format_help(self, *arguments: Any, everything: bool = False, **options: Any) -> str:
        """The help, without what `arrange` left to --help-all unless everything is asked for."""
        groups = list(self._action_groups)
        hidden = [] if everything or self.shown is None else groups[self.shown :]
        self._action_groups = [group for group in groups if group not in hidden]
        try:
            text = super().format_help(*arguments, **options)
        finally:
            self._action_groups = groups
        names = [action.dest for group in hidden for action in group._group_actions]
        if names:
            kinds = ", ".join(sorted({f"--{name.partition('.')[0]}.*" for name in names}))
            text += f"\n{len(names)} advanced options ({kinds}) are listed by --help-all.\n"
        return with_dashes(text)


class _HelpAll(argparse._HelpAction):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        assert isinstance(parser, Parser)
        print(parser.format_help(everything=True), end="")
        parser.exit()


def arrange(parser: ArgumentParser, sections: Mapping[str, str]) -> None:
    """Show these options first, under these titles; all others only with --help-all.

    Args:
        parser: of a verb, with all its options.
        sections: title -> names of options as in the dataclasses, separated by spaces.

    Raises:
        KeyError: the verb has no such option.
    """
    assert isinstance(parser, Parser)
    for name, named in (parser.groups or {}).items():
        if any(f"{action.dest}.".startswith(f"{name}.") for action in named._group_actions):
            named.title = f"--{name}.* ({named.title})"
    positionals, helping, *others = parser._action_groups  # in the order of argparse
    group_of = {a.dest: group for group in parser._action_groups for a in group._group_actions}
    actions = {action.dest: action for action in parser._actions}
    chosen = []
    for title, names in sections.items():
        group = parser.add_argument_group(title)
        for name in names.split():
            group_of[name]._group_actions.remove(actions[name])
            group._group_actions.append(actions[name])
        chosen.append(group)
    helping.title = "help"
    parser._action_groups = [*chosen, helping, positionals, *others]
    if any(group._group_actions for group in (positionals, *others)):
        helping.add_argument("--help_all", action=_HelpAll, help="list the advanced options too")
        parser.shown = len(chosen) + 1


def with_dashes(text: str) -> str:
    """Options in a text as they are typed: `--batch-size`, not `--batch_size`."""
    return re.sub(r"--[\w.]+", lambda name: name[0].replace("_", "-"), text)
