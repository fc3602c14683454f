"""Tables: what is missing is seen, in every format; and they say what they were made of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import tiny_experiments as tiny
from ifnormal.benchmarks.experiment import BenchRun, Cell, Finished, Selection, Table
from ifnormal.benchmarks.experiments import paper
from ifnormal.benchmarks.paper_figures import paper_figure
from ifnormal.benchmarks.sweep import planned, tables_of, write_tables
from ifnormal.benchmarks.sweep_folder import remember_plan, write_failure
from ifnormal.benchmarks.tables import Format, Origin, number, render
from ifnormal.common.errors import UserError
from ifnormal.common.storage import write_json

CELLS = {
    "whole": Cell(55.23, 3.14159, runs=7, expected=7, paper=55.6),
    "partly": Cell(72.0, None, runs=1, expected=7),
    "nothing": Cell(None, runs=0, expected=7, paper=43.0),
    "words": Cell(None, expected=2, text="cannot be <measured>"),
    "single": Cell(0.01234, runs=1, expected=1),
}
TABLE = Table("A | table", ["figure"], {name: [cell] for name, cell in CELLS.items()}, ["a note"])
ORIGIN = Origin(
    "tiny",
    "Tiny <runs>",
    done=8,
    planned=16,
    failed={"key-of-a-run": "The disk is full."},
    skipped={"b/two": "b: get it"},
    made_with={"Commit": {"abc": 7, "def with changes": 1}},
)


class TestRendering:
    def test_markdown_shows_every_lack(self) -> None:
        text = render([TABLE], ORIGIN, "md")
        rows = dict(re.findall(r"^\| (\w+) \| (.*) \|$", text, re.MULTILINE))
        assert rows == {
            "whole": "55.2 ± 3.14 (7 runs; paper 55.6)",
            "partly": "72.0 (1 of 7 runs)",
            "nothing": "– (0 of 7 runs; paper 43.0)",
            "words": "cannot be <measured> (2 runs)",
            "single": "0.0123",
        }
        for sentence in (
            "8 of 16 planned runs are done.",
            "1 run failed:",
            "key-of-a-run: The disk is full.",
            "1 setup without data here, skipped: b/two.",
            "Commit: abc (7 runs), def with changes (1 run).",
        ):
            assert f"- {sentence}\n" in text
        assert "- a note" in text

    def test_html_is_one_file_and_takes_names_for_text(self) -> None:
        text = render([TABLE], ORIGIN, "html")
        assert "<h1>Tiny &lt;runs&gt;</h1>" in text
        assert "cannot be &lt;measured&gt;" in text
        assert "<small class=lack>1 of 7 runs</small>" in text
        assert "prefers-color-scheme: dark" in text
        assert not re.search(r"https?://|<script|<link|src=", text)
        assert text.count("<tr>") == 1 + len(CELLS)

    def test_json_has_every_digit(self) -> None:
        document = json.loads(render([TABLE], ORIGIN, "json"))
        assert document["tables"][0]["rows"]["whole"][0] == {
            "mean": 55.23,
            "deviation": 3.14159,
            "runs": 7,
            "expected": 7,
            "paper": 55.6,
            "text": None,
            "extractor": None,
        }
        assert document["made_with"]["Commit"] == {"abc": 7, "def with changes": 1}
        assert document["failed"] == {"key-of-a-run": "The disk is full."}

    @pytest.mark.parametrize("format", ["md", "html"])
    def test_wide_tables_tell_the_runs_once_a_row(self, format: Format) -> None:
        same = [Cell(1.0, runs=1, expected=7, paper=2.0), Cell(None, expected=7, text="words")]
        cells = [*same, *[CELLS["partly"]] * 2]
        names = ["a", "b", "c", "d"]
        once = render([Table("T", names, {"row": cells})], ORIGIN, format)
        assert once.count("1 of 7") == 1
        assert "paper 2.00" in once
        cells[0] = Cell(1.0, runs=3, expected=7)
        mixed = render([Table("T", names, {"row": cells})], ORIGIN, format)
        assert mixed.count("3 of 7") == 1
        assert mixed.count("1 of 7 runs") == 2

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1234.5, "1234"),
            (99.94, "99.9"),
            (-5.678, "-5.68"),
            (0.0, "0.00"),
            (0.000123456, "0.000123"),
        ],
    )
    def test_numbers_have_three_digits_that_count(self, value: float, text: str) -> None:
        assert number(value) == text


class TestFolder:
    def make(self, out: Path) -> list[BenchRun]:
        """A sweep with one run done, one failed, two missing."""
        runs = planned(tiny.NAME, Selection())
        remember_plan(out, tiny.NAME, runs, {"b/one": "b: get it"})
        write_json(out / runs[0].key / "metrics.json", {"figure": 2.5})
        facts = {
            "commit": "0123456789abcdef",
            "uncommitted_changes": False,
            "date": "2026-02-03T04",
        }
        versions = {"ifnormal": "0.1", "torch": "2.13", "cpu": "A Processor", "threads": "2"}
        write_json(out / runs[0].key / "config.json", {**facts, "versions": versions})
        write_failure(out, runs[1], "It broke.", "Traceback")
        return runs

    def test_tables_are_made_of_what_is_there(self, tmp_path: Path) -> None:
        runs = self.make(tmp_path)
        document = json.loads(write_tables(tmp_path, "json"))
        assert (document["done"], document["planned"]) == (1, 4)
        assert document["failed"] == {runs[1].key: "It broke."}
        assert document["skipped"] == {"b/one": "b: get it"}
        assert document["made_with"]["Commit"] == {"0123456789ab": 1}
        assert "A Processor, 2 threads" in next(iter(document["made_with"]["Processor"]))
        rows = document["tables"][0]["rows"]
        assert rows["a/one"][0]["mean"] == 2.5
        assert [rows[setup][0]["runs"] for setup in tiny.SETUPS] == [1, 0, 0, 0]

    @pytest.mark.parametrize("format", ["md", "html"])
    def test_failures_are_told_in_words(self, tmp_path: Path, format: Format) -> None:
        self.make(tmp_path)
        text = write_tables(tmp_path, format)
        assert "It broke." in text
        assert "1 of 4 planned runs are done." in text

    def test_no_folder_of_a_sweep_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no folder of a sweep; make one with ifnormal bench"):
            write_tables(tmp_path, "md")
        (tmp_path / "plan.json").write_text('{"experiment": "paper", "runs": [{"x": 1}]}')
        with pytest.raises(UserError, match="remove it and give the command of the sweep again"):
            write_tables(tmp_path, "md")


class TestPaper:
    def finished(self, runs: list[BenchRun], **metrics: object) -> list[Finished]:
        return [
            Finished(run, {"normality_auroc": 50.0 + i, **metrics}, Path(run.key))
            for i, run in enumerate(runs)
        ]

    def test_groups_are_the_papers_with_its_figures(self) -> None:
        runs = planned("paper", Selection(only="*mnist/*", detectors=("bce",), seeds=(0,)))
        singles = [run for run in runs if run.setup.startswith("mnist/one-vs-rest/")]
        one, two, figures, setups = paper.tables(
            runs, self.finished(singles[:3], fid_n=[40.0, 60.0])
        )
        cell = one.rows["MNIST, one normal class"][0]
        assert (cell.mean, cell.deviation, cell.runs, cell.expected) == (51.0, 1.0, 3, 10)
        assert cell.paper == paper_figure("normality_auroc", "single", "mnist", "bce") == 72.0
        assert list(one.rows) == ["MNIST, one normal class", "C-MNIST, several", "MNIST, several"]
        assert two.rows["MNIST, one normal class"][0].mean == 50.0, "of several concepts the mean"
        assert one.rows["C-MNIST, several"][0].runs == 0
        assert one.rows["C-MNIST, several"][0].expected >= 14
        assert "MNIST, one normal class, BCE" in figures.rows
        assert len(setups.rows) == len(runs)
        assert {len(cells) for cells in setups.rows.values()} == {len(setups.columns)}

    def test_budgets_and_given_options_do_not_mix(self) -> None:
        runs = planned("paper", Selection(only="mnist/one-vs-rest/1", detectors=("bce",)))
        runs += planned("paper", Selection("mnist/one-vs-rest/1", (0,), ("bce",), "paper"))
        runs += planned("paper", Selection("mnist/one-vs-rest/1", (0,), ("bce",)), {"fit.steps": 3})
        tables = tables_of(paper.EXPERIMENT, runs, self.finished(runs))
        firsts = [table for table in tables if table.title.startswith("Table 1")]
        assert [re.findall(r"\((.*)\)", table.title)[-1] for table in firsts] == [
            "small budget",
            "paper budget",
            "small budget, fit.steps=3",
        ]
        assert [next(iter(t.rows.values()))[0].mean for t in firsts] == [50.0, 51.0, 52.0]

    def test_what_cannot_be_measured_is_no_missing_run(self) -> None:
        runs = planned("paper", Selection(only="mvtec/screw", detectors=("bce",)))
        tables = paper.tables(runs, self.finished(runs, truly_normal=None))
        columns = list(tables[2].columns)
        cells = tables[2].rows["MVTec-AD, industrial, BCE"]
        truly = cells[next(i for i, name in enumerate(columns) if name.startswith("truly normal"))]
        assert (truly.mean, truly.text) == (None, "cannot be measured")
