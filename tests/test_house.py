"""Rooms import only rooms that come before them, and no file imports itself by a detour."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src"
# A file may import its own room, and those of the lines above it.
ORDER = (
    {"version"},
    {"common"},
    {"config", "explanation"},
    {"data"},
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
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def imports(module: str) -> set[str]:
    """The modules of this package that a module imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            deeper = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else node.module for name in deeper}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & FILES.keys()


@pytest.mark.parametrize("module", sorted(FILES))
def test_no_arrow_runs_backwards(module: str) -> None:
    here = room(module)
    wrong = [
        FILES[other].relative_to(ROOT).as_posix()
        for other in imports(module)
        if room(other) != here and FLOOR[room(other)] >= FLOOR[here]
    ]
    assert not wrong, f"{FILES[module].relative_to(ROOT)} imports {', '.join(wrong)}"


def test_no_circle() -> None:
    graph = {module: imports(module) - {module} for module in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_few_modules_lie_in_the_root() -> None:
    assert len(list((ROOT / "ifnormal").glob("*.py"))) <= 6
