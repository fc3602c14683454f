"""The tables of the evaluation, from `results/` into README.md and the documentation.

python studies/evaluation_tables.py

`*-small.json` is what `ifnormal bench table DIR --format json` wrote of a sweep and goes into
docs/evaluation.md; `diffusion-*.json` goes into docs/diffusion.md; what
`demo_tables.py` reads goes into docs/figures.md, docs/recipes.md and docs/black_boxes.md. So a
figure in the text is one that was measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo_tables import access_table, demo_table, recipe_table
from ifnormal.benchmarks.experiment import Cell, Table
from ifnormal.benchmarks.experiments.diffusion import COLUMNS
from ifnormal.benchmarks.tables import Origin, number, render
from ifnormal.common.storage import read_json, write_atomic

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
EXPERIMENTS = (
    *("paper", "figure9", "bias", "planted", "sensitivity"),
    *("theory", "fcdd", "baselines", "recipes", "access", "small-data", "diffusion"),
)
ALL = "All figures"
# Of the wide table, what README.md shows, and a heading short enough for it.
SHOWN = {
    "detector AuROC": "detector AuROC",
    "AuROC normal against counterfactuals": "AuROC (ideal 50)",
    "normalised FID": "FID_N",
    "concept accuracy": "concept accuracy",
    "valid": "valid",
    "truly normal": "truly normal",
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    for (name, block), text in texts().items():
        write(ROOT / name, block, text)


def texts() -> dict[tuple[str, str], str]:
    """(file, block between two marks in it) -> its text."""
    return {
        ("README.md", "evaluation"): readme_table(),
        ("docs/evaluation.md", "results"): all_tables(),
        ("docs/diffusion.md", "results"): diffusion_tables(),
        ("docs/figures.md", "figures"): demo_table(),
        ("docs/recipes.md", "results"): recipe_table(),
        ("docs/black_boxes.md", "results"): access_table(),
    }


def readme_table() -> str:
    """A row a group of setups and detector; the paper's figure beside ours."""
    table = next(table for table in read("paper")[0] if table.title.startswith(ALL))
    plain = [column.removesuffix(", %") for column in table.columns]
    lines = [
        "| % | runs | " + " | ".join(SHOWN.values()) + " |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for heading, cells in table.rows.items():
        chosen = [cells[plain.index(column)] for column in SHOWN]
        most = max(chosen, key=lambda cell: cell.runs)
        if most.runs:
            runs = (
                f"{most.runs}" if most.runs == most.expected else f"{most.runs} of {most.expected}"
            )
            lines.append(f"| {heading} | {runs} | " + " | ".join(map(cell_text, chosen)) + " |")
    return "\n".join(lines) + "\n"


def cell_text(cell: Cell) -> str:
    """Mean ± deviation, and the paper's figure in brackets."""
    paper = "" if cell.paper is None else f" ({number(cell.paper)})"
    if cell.mean is None:
        return f"–{paper}"
    spread = "" if cell.deviation is None else f" ± {cell.deviation:.1f}"
    return f"{cell.mean:.1f}{spread}{paper}"


def all_tables() -> str:
    """Every table there is, as `ifnormal bench table` shows it, one heading further down."""
    parts = []
    for name in EXPERIMENTS:
        if path_of(name).exists():
            text = render(*read(name), "md")
            parts.append("\n".join(lowered(text, f"`studies/results/{path_of(name).name}`")))
    return "\n\n".join(parts) + "\n"


def diffusion_tables() -> str:
    """A table a setup: methods and their figures, mean ± deviation over seeds."""
    parts = []
    for path in sorted(RESULTS.glob("diffusion-*.json")):
        saved: dict[str, Any] = read_json(path)
        rows = saved["rows"]
        known = {
            key: title
            for key, title in COLUMNS.items()
            if any(row.get(key) is not None for row in rows)
        }
        seeds = len(saved["seeds"])
        lines = [
            f"### {saved['setup']}: {saved['anomalies'][0]} anomalies, "
            f"{seeds} seed{'s' if seeds > 1 else ''}",
            "",
            f"From `studies/results/{path.name}`, made on {saved['cpu']}:",
            "",
            "| method | " + " | ".join(known.values()) + " |",
            "|---" * (len(known) + 1) + "|",
        ]
        for row in rows:
            cells = [spread(row[key], row[f"{key}_std"]) for key in known]
            lack = f" ({row['runs']} of {seeds} seeds)" if row["runs"] < seeds else ""
            lines.append(f"| {row['method']}{lack} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def spread(mean: float | None, deviation: float | None) -> str:
    """A figure with its deviation, both with as many decimals as the figure is worth."""
    if not mean:
        return "–" if mean is None else number(mean)
    told = number(mean)
    decimals = len(told.partition(".")[2])
    return told if deviation is None else f"{told} ± {deviation:.{decimals}f}"


def lowered(text: str, source: str) -> Iterator[str]:
    """Headings two levels further down; the first says which file it is."""
    for line in text.rstrip("\n").split("\n"):
        if line.startswith("# "):
            yield f"##{line}"
            yield ""
            yield f"From {source}:"
        else:
            yield f"##{line}" if line.startswith("#") else line


def path_of(name: str) -> Path:
    """Where the results of an experiment lie."""
    return RESULTS / f"{name}-small.json"


def read(name: str) -> tuple[list[Table], Origin]:
    """The tables of an experiment and what they were made of."""
    saved: dict[str, Any] = read_json(path_of(name))
    tables = [
        Table(
            table["title"],
            table["columns"],
            {heading: [Cell(**cell) for cell in row] for heading, row in table["rows"].items()},
            table["notes"],
        )
        for table in saved["tables"]
    ]
    keys = ("experiment", "title", "done", "planned", "failed", "skipped", "made_with")
    return tables, Origin(**{key: saved[key] for key in keys})


def write(path: Path, block: str, text: str) -> None:
    """Put a text between the two marks of its block."""
    begin, end = f"<!-- {block}:begin -->\n", f"<!-- {block}:end -->"
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{path} has no place for {block}; put its two marks there.")
    write_atomic(path, f"{before}{begin}{text}{end}{after}")


if __name__ == "__main__":
    main()
