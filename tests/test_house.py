"""Rooms import only rooms that come before them, and no file imports itself by a detour."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

import pytest

from house_picture import BEGIN, END, FILES, GUIDE, SOURCE, imports, picture, reduced, room, rooms

# A file may import its own room, and those of the lines above it.
ORDER = (
    {"version"},
    {"common"},
    {"config", "explanation"},
    {"data", "features"},
    {"detectors"},
    {"training", "evaluation"},
    {"explainers"},
    {"report"},
    {"jobs"},
    {"app", "benchmarks"},
    {"cli"},
    {"", "__main__", "explanation_document", "pixels"},
)
FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}


@pytest.mark.parametrize("module", sorted(FILES))
def test_no_arrow_runs_backwards(module: str) -> None:
    here = room(module)
    wrong = [
        FILES[other].relative_to(SOURCE).as_posix()
        for other in imports(module)
        if room(other) != here and FLOOR[room(other)] >= FLOOR[here]
    ]
    assert not wrong, f"{FILES[module].relative_to(SOURCE)} imports {', '.join(wrong)}"


def test_no_circle() -> None:
    graph = {module: imports(module) - {module} for module in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_few_modules_lie_in_the_root() -> None:
    assert len(list((SOURCE / "ifnormal").glob("*.py"))) <= 6


def test_the_reduction_leaves_out_what_a_longer_path_reaches() -> None:
    graph = {"d": {"a", "b", "c"}, "c": {"a", "b"}, "b": set(), "a": set()}
    assert reduced(graph) == {"d": {"c"}, "c": {"a", "b"}, "b": set(), "a": set()}


def test_the_picture_of_the_rooms_is_that_of_the_imports() -> None:
    drawn = f"{BEGIN}{picture(reduced(rooms()))}{END}"
    assert GUIDE.read_text().count(drawn) == 1, "run python studies/house_picture.py"


def test_the_table_of_rooms_is_in_their_order() -> None:
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", GUIDE.read_text(), re.M)
    assert set(listed) == set(FLOOR) - ORDER[-1]
    assert sorted(listed, key=FLOOR.__getitem__) == listed
