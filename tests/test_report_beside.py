"""Several runs in one report: matched images, their figures, and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromium import find, needs_chromium, open_page, resize
from explanation_folders import random_explanation, write_explanation
from ifnormal.cli import main
from ifnormal.common.errors import UserError
from ifnormal.report import write_report
from ifnormal.report.reading import read_run
from ifnormal.report.side_by_side import SideBySide, make_side_by_side
from report_pages import opened
from test_report import HOSTILE, Page, assert_harmless, assert_policy

GREY = 100
NAMES = ["b.png", "a.png", "c.png"]
SCORES = [0.7, 0.9, 0.8]


def write_run(
    folder: Path,
    brighter: tuple[int, ...] = (51, 102),
    edit_scores: tuple[float, ...] = (0.1, 0.8),
    names: list[str] = NAMES,
    facts: dict[str, Any] | None = None,
    normal: tuple[bool, ...] | None = None,
    size: int = 8,
    greys: Mapping[str, int] | None = None,
    **options: Any,
) -> Path:
    """Anomalies of one grey, unless `greys` has another for its name; the edits are brighter."""
    n, k = len(names), len(brighter)
    levels = [(greys or {}).get(name, GREY) for name in names]
    anomalies = np.stack([np.full((size, size, 3), level, np.uint8) for level in levels])
    edits = np.stack([np.stack([image + up for up in brighter]) for image in anomalies])
    scores = options.pop("scores", SCORES[:n])
    write_explanation(
        folder / "explanation",
        anomalies,
        edits.astype(np.uint8),
        scores,
        [edit_scores] * n,
        names=names,
        **options,
    )
    if facts is not None:
        path = folder / "explanation" / "explanation.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "facts": facts}))
    if normal is not None:
        verdicts = [[f"{name} {c}" for c in range(k)] for name in names]
        told = {"is_normal": [list(normal)] * n, "verdicts": verdicts}
        (folder / "truth.json").write_text(json.dumps(told))
    return folder


def side_by_side(*folders: Path, **options: Any) -> SideBySide:
    first, *others = [read_run(folder) for folder in folders]
    return make_side_by_side(first, others, **options)


def test_rows_are_the_images_that_all_explained_in_the_order_of_the_first(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", normal=(True, False))
    second = write_run(tmp_path / "second", names=["c.png", "x.png", "a.png"], brighter=(25,))
    grid = side_by_side(first, second, write_run(tmp_path / "third"))
    assert [(row.name, row.number, row.score) for row in grid.rows] == [
        ("a.png", 2, "0.90"),
        ("c.png", 3, "0.80"),
    ]
    assert [len(group) for group in grid.rows[0].groups] == [2, 1, 2]
    assert [cell.valid for cell in grid.rows[0].groups[0]] == [True, False]
    assert [cell.score for cell in grid.rows[0].groups[0]] == ["0.10", "0.80"]
    judged = grid.rows[0].groups[0][1].judged
    assert judged is not None
    assert (judged.is_normal, judged.verdict) == (False, "a.png 1")
    assert grid.rows[0].groups[1][0].judged is None
    assert "two images that all three runs explained" in grid.paragraphs[0]


def test_figures_are_over_the_shared_images_of_each_run(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", normal=(True, False))
    second = write_run(tmp_path / "second", brighter=(51,), edit_scores=(0.2,), names=["c.png"])
    grid = side_by_side(first, second)
    assert [method.figures for method in grid.methods] == [
        [("accepted", "50 %"), ("normal to the judge", "50 %"), ("mean change", "30.0 %")],
        [("accepted", "100 %"), ("normal to the judge", "–"), ("mean change", "20.0 %")],
    ]
    alone = side_by_side(second, write_run(tmp_path / "third"))
    assert [title for title, _ in alone.methods[0].figures] == ["accepted", "mean change"]


def test_columns_are_headed_by_run_generator_and_concepts(tmp_path: Path) -> None:
    prompts = ["a 30 sign", "an 80 sign"]
    kinds: dict[str, dict[str, Any]] = {
        "a": {"fit": {"concepts": 2}},
        "b": {"generator": "inversion", "prompts": prompts},
        "c": {"generator": "latent", "prompts": ["a sign"]},
        "d": {"generator": "inversion", "prompts": ["a sign", "a sign"]},
        "e": {"method": "nearest neighbour", "prompts": [1, 2]},
    }
    grid = side_by_side(*(write_run(tmp_path / name, facts=kinds[name]) for name in kinds))
    assert [(m.name, m.generator, m.prompt, m.concepts) for m in grid.methods] == [
        ("a", "pixel", "", ["A", "B"]),
        ("b", "inversion", "", ["“a 30 sign”", "“an 80 sign”"]),
        ("c", "latent", "a sign", ["A", "B"]),
        ("d", "inversion", "a sign", ["A", "B"]),
        ("e", "nearest neighbour", "", ["A", "B"]),
    ]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    grid = side_by_side(write_run(tmp_path / "x" / "run"), write_run(tmp_path / "y" / "run"))
    assert [method.name for method in grid.methods] == ["x/run", "y/run"]


def test_another_detector_is_said_to_be_another(tmp_path: Path) -> None:
    first, same = write_run(tmp_path / "first"), write_run(tmp_path / "same")
    assert len(side_by_side(first, same).paragraphs) == 1
    for name, options in {
        "stricter": {"threshold": 0.4},
        "other": {"scores": [0.7, 0.9, 0.6]},
    }.items():
        told = side_by_side(first, same, write_run(tmp_path / name, **options)).paragraphs[1]
        assert f"Not the same detector: that of {name} has another threshold" in told


def test_an_image_of_the_same_path_that_looks_different_is_left_out(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first")
    second = write_run(tmp_path / "second", greys={"b.png": GREY + 10, "a.png": GREY + 1})
    grid = side_by_side(first, second)
    assert [row.name for row in grid.rows] == ["a.png", "c.png"]
    assert "Left out: one that has the same path in both runs, but other pixels." in grid.paragraphs


@pytest.mark.parametrize(("count", "shown"), [(1, [0]), (2, [0, 29]), (4, [0, 10, 19, 29])])
def test_of_many_images_a_few_are_taken_evenly(
    tmp_path: Path, count: int, shown: list[int]
) -> None:
    scores = np.linspace(0.9, 0.6, 30).tolist()
    names = [f"{i:02d}.png" for i in range(30)]
    run = random_explanation(tmp_path / "run", n=30, scores=scores, names=names, frames=0)
    grid = side_by_side(run, run, rows=count)
    assert [row.name for row in grid.rows] == [names[place] for place in shown]
    assert "30 images" in grid.paragraphs[0]


def test_heavy_pictures_make_fewer_rows_and_at_least_one(tmp_path: Path) -> None:
    run = random_explanation(tmp_path, n=9, size=60, frames=0)
    whole = [row.weight for row in side_by_side(run, run).rows]
    assert len(whole) == 9
    half = [row.weight for row in side_by_side(run, run, budget=sum(whole) // 2).rows]
    assert 3 <= len(half) <= 4
    assert sum(half) <= sum(whole) // 2
    assert len(side_by_side(run, run, budget=1).rows) == 1


def test_the_page_has_a_section_with_a_table_that_can_be_read_aloud(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", normal=(True, False))
    prompts = [HOSTILE[1], HOSTILE[4]]
    second = write_run(tmp_path / "<i>second", facts={"generator": HOSTILE[0], "prompts": prompts})
    page = Page(write_report(first, beside=[second]))
    assert_harmless(page)
    assert_policy(page)
    assert "beside" in page.ids
    assert "#beside" in {link["href"] for link in page.all("a")}
    scopes = [cell.get("scope") for cell in page.all("th")]
    assert [scopes.count(kind) for kind in ("colgroup", "col", "row")] == [2, 1 + 4, 3]
    assert HOSTILE[0] in page.text
    assert "Side by side" in page.text
    assert "not normal , sees a.png 1" in page.text
    alts = {image["alt"] for image in page.all("img") if "src" in image}
    start = "Counterfactual of anomaly 2 by"
    assert f"{start} first, concept A: accepted by the detector, normal to the judge" in alts
    assert f"{start} <i>second, concept “{prompts[0]}”: accepted by the detector" in alts


def test_without_others_there_is_no_such_section(tmp_path: Path) -> None:
    page = Page(write_report(write_run(tmp_path)))
    assert "beside" not in page.ids
    assert "Side by side" not in page.text


@needs_chromium
def test_a_wide_grid_is_scrolled_within_its_section(browser: Any, tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, normal=(True, False)) for name in "abcd"]
    open_page(browser, write_report(runs[0], beside=runs[1:]), "#beside")
    for width in (1280, 390):
        resize(browser, width)
        measure = "return document.documentElement.scrollWidth"
        assert browser.execute_script(measure) == width
    grid = find(browser, ".sideways")
    assert grid.get_property("scrollWidth") > grid.get_property("clientWidth")
    anomaly = find(browser, ".sideways tbody .anomaly")
    place = anomaly.rect["x"]
    browser.execute_script("arguments[0].scrollLeft = 300", grid)
    assert anomaly.rect["x"] == place
    find(browser, ".sideways tbody a").click()
    assert opened(browser) == 2


class TestRefusals:
    def test_no_explanation(self, tmp_path: Path) -> None:
        run = write_run(tmp_path / "run")
        with pytest.raises(UserError, match=r"nothing.*explanation\.json does not exist; name a"):
            write_report(run, beside=[tmp_path / "nothing"])
        assert not (run / "report.html").exists()

    def test_no_shared_image(self, tmp_path: Path) -> None:
        runs = [write_run(tmp_path / "one"), write_run(tmp_path / "two", names=["x.png"])]
        with pytest.raises(
            UserError, match=r"No image was explained in each of .*one/.* and .*two"
        ):
            write_report(runs[0], beside=runs[1:])

    def test_no_image_that_looks_the_same(self, tmp_path: Path) -> None:
        runs = [write_run(tmp_path / name) for name in ("one", "two")]
        write_run(runs[1], greys=dict.fromkeys(NAMES, 0))
        with pytest.raises(UserError, match=r"\(3 of one path differ in their pixels\)"):
            write_report(runs[0], beside=runs[1:])

    def test_another_shape(self, tmp_path: Path) -> None:
        runs = [write_run(tmp_path / "small"), write_run(tmp_path / "large", size=9)]
        with pytest.raises(UserError, match=r"small.* shape 3×8×8 .*large.* 3×9×9; only runs of"):
            write_report(runs[0], beside=runs[1:])


def test_the_command_line_takes_several_others(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name) for name in "abc"]
    assert main(["report", str(runs[0]), "--beside", str(runs[1]), str(runs[2])]) == 0
    assert "three images that all three runs explained" in Page(runs[0] / "report.html").text
