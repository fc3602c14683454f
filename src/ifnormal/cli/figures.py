"""The metrics of a run on the terminal, beside those of the paper."""

from __future__ import annotations

from ifnormal.cli.verb import Options


def show_figures(metrics: Options) -> None:
    """Print the metrics beside those of the paper, and the total time."""
    from rich.console import Console
    from rich.table import Column, Table

    from ifnormal.evaluation import METRICS
    from ifnormal.report.figures import make_rows
    from ifnormal.report.wording import duration

    table = Table(*(Column(name, overflow="fold") for name in ("figure", "better", "here")))
    table.add_column("paper, BCE")
    for row in make_rows(metrics, METRICS):
        each = ", ".join(f"{letter} {value}" for letter, value in row.parts)
        paper = f"{row.paper} ({row.caution})" if row.caution else row.paper
        here = f"{row.value} ({each})" if each else row.value
        table.add_row(row.title, f"{row.arrow} {row.aim}", here, paper)
    Console(markup=False, highlight=False).print(table)
    if "total_s" in metrics:
        print(f"Total time: {duration(metrics['total_s'])}")
