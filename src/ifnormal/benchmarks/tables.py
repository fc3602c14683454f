"""Tables as Markdown, HTML and JSON: figures with deviation, number of runs, the paper's figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Literal

from ifnormal.benchmarks.experiment import Cell, Table

Format = Literal["md", "html", "json"]
_NONE = "–"
_FEW = 3  # columns of a table in which each cell shows its number of runs
_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d22; --soft: #66666e; --line: #d8d8de;
  --page: #fbfbf9; --stripe: #f1f1ee; --lack: #a33b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e9ec; --soft: #a2a2ab; --line: #3a3a42;
  --page: #17171a; --stripe: #1f1f24; --lack: #ffa366; } }
body { background: var(--page); color: var(--ink); margin: 2rem auto; max-width: 80rem;
  padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; text-align: right; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--line); white-space: normal; min-width: 6rem; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--page); }
tbody tr:nth-child(even) > * { background: var(--stripe); }
small { color: var(--soft); display: block; } .lack { color: var(--lack); }
p { color: var(--soft); max-width: 60rem; margin: .4rem 0; }
"""


@dataclass(frozen=True)
class Origin:
    """What tables were made of.

    Attributes:
        experiment: name of the experiment.
        title: what it shows.
        done, planned: numbers of runs.
        failed: key of a run -> why it failed.
        skipped: setup without data -> what is missing.
        made_with: commits, versions, processors and dates of the runs; JSON-compatible.
    """

    experiment: str
    title: str
    done: int
    planned: int
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    made_with: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentences(self) -> list[str]:
        """The same in sentences."""
        told = [f"{self.done} of {self.planned} planned runs are done."]
        if self.failed:
            told.append(f"{_count(len(self.failed), 'run')} failed:")
            told += [f"{key}: {why}" for key, why in self.failed.items()]
        if self.skipped:
            names = ", ".join(self.skipped)
            told.append(
                f"{_count(len(self.skipped), 'setup')} without data here, skipped: {names}."
            )
        for name, values in self.made_with.items():
            if isinstance(values, Mapping):
                counted = ", ".join(
                    f"{value} ({_count(runs, 'run')})" for value, runs in values.items()
                )
                told.append(f"{name}: {counted or 'unknown'}.")
        return told


def render(tables: Sequence[Table], origin: Origin, format: Format) -> str:
    """All tables of an experiment as one text.

    Args:
        tables: in their order.
        origin: what the tables were made of.
        format: "md", "html" (self-contained) or "json".
    """
    return {"md": _markdown, "html": _html, "json": _json}[format](tables, origin)


def number(value: float) -> str:
    """A figure with about three significant digits."""
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1 or size == 0:
        return f"{value:.2f}"
    return f"{value:.3g}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _main(cell: Cell) -> str:
    """Mean, deviation and extractor, or the text of the cell."""
    if cell.text is not None:
        return cell.text
    if cell.mean is None:
        return _NONE
    spread = "" if cell.deviation is None else f" ± {number(cell.deviation)}"
    features = "" if cell.extractor is None else f" [{cell.extractor}]"
    return f"{number(cell.mean)}{spread}{features}"


def _runs_of_rows(table: Table) -> dict[str, Cell] | None:
    """For each row the cell with the most runs, since a wide table shows them once per row.

    Cells with another number show their own. None for a table of few columns, where all cells do.
    """
    if len(table.columns) <= _FEW:
        return None
    return {
        heading: max(cells, key=lambda cell: (cell.runs, cell.expected))
        for heading, cells in table.rows.items()
    }


def _runs(cell: Cell) -> str:
    return str(cell.runs) if cell.runs == cell.expected else f"{cell.runs} of {cell.expected}"


def _beside(cell: Cell, row: Cell | None) -> list[tuple[str, bool]]:
    """Texts beside a figure, each with whether it says that runs are missing.

    Args:
        cell: the figure.
        row: the cell whose runs are shown for the whole row, if any.
    """
    parts = []
    if row is not None and (cell.text or (row.runs, row.expected) == (cell.runs, cell.expected)):
        pass
    elif cell.runs < cell.expected and cell.text is None:
        parts.append((f"{cell.runs} of {cell.expected} runs", True))
    elif cell.expected > 1:
        parts.append((_count(cell.runs or cell.expected, "run"), False))
    if cell.paper is not None:
        parts.append((f"paper {number(cell.paper)}", False))
    return parts


def _markdown(tables: Sequence[Table], origin: Origin) -> str:
    lines = [f"# {origin.title}", ""]
    lines += [f"- {sentence}" for sentence in origin.sentences]
    for table in tables:
        runs = _runs_of_rows(table)
        columns = [*(["runs"] if runs else []), *table.columns]
        lines += ["", f"## {table.title}", ""]
        lines.append("| | " + " | ".join(map(_pipe, columns)) + " |")
        lines.append("|---" * (len(columns) + 1) + "|")
        for heading, cells in table.rows.items():
            row = runs[heading] if runs else None
            shown = [_runs(row)] if row else []
            for cell in cells:
                beside = "; ".join(text for text, _ in _beside(cell, row))
                shown.append(f"{_main(cell)} ({beside})" if beside else _main(cell))
            lines.append("| " + " | ".join(map(_pipe, [heading, *shown])) + " |")
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _pipe(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _html(tables: Sequence[Table], origin: Origin) -> str:
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(origin.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(origin.title)}</h1>",
        *(f"<p>{escape(sentence)}</p>" for sentence in origin.sentences),
    ]
    for table in tables:
        runs = _runs_of_rows(table)
        columns = [*(["runs"] if runs else []), *table.columns]
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
        rows = "".join(
            _html_row(heading, cells, runs[heading] if runs else None)
            for heading, cells in table.rows.items()
        )
        parts += [
            f'<h2>{escape(table.title)}</h2><div class="scroll"><table><thead><tr><th></th>{head}',
            f"</tr></thead><tbody>{rows}</tbody></table></div>",
            *(f"<p>{escape(note)}</p>" for note in table.notes),
        ]
    return "".join(parts) + "</body></html>\n"


def _html_row(heading: str, cells: Sequence[Cell], row: Cell | None) -> str:
    parts = [f'<tr><th scope="row">{escape(heading)}</th>']
    if row is not None:
        parts.append(f"<td{' class=lack' if row.runs < row.expected else ''}>{_runs(row)}</td>")
    for cell in cells:
        small = "".join(
            f"<small{' class=lack' if lack else ''}>{escape(text)}</small>"
            for text, lack in _beside(cell, row)
        )
        parts.append(f"<td>{escape(_main(cell))}{small}</td>")
    return "".join([*parts, "</tr>"])


def _json(tables: Sequence[Table], origin: Origin) -> str:
    """Tables and origin with all digits."""
    document = {"format": "ifnormal.tables", "version": 1, **asdict(origin)}
    document["tables"] = [asdict(table) for table in tables]
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
