"""The picture of the rooms in CONTRIBUTING.md, drawn from the imports in `src/`.

python studies/house_picture.py

A box is a room: a folder of `src/ifnormal`. An arrow leads from a room to one that it imports. An
arrow is left out where a longer path of arrows leads to the same room.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
GUIDE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- house:begin -->\n", "<!-- house:end -->\n"
FILES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    before, begin, rest = GUIDE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    GUIDE.write_text(before + begin + picture(reduced(rooms())) + end + after)


def room(module: str) -> str:
    """The room of a module; those of the package root are rooms of their own."""
    return module.partition(".")[2].partition(".")[0]


def imports(module: str) -> set[str]:
    """The modules of this package that a module imports, anywhere in its file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            deeper = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else node.module for name in deeper}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & FILES.keys()


def rooms() -> dict[str, set[str]]:
    """Folders of the package -> the other folders whose modules they import."""
    folders = {room(module) for module in FILES if module.count(".") > 1}
    graph: dict[str, set[str]] = {folder: set() for folder in folders}
    for module in FILES:
        if room(module) in folders:
            graph[room(module)] |= {room(other) for other in imports(module)}
    return {here: (others & folders) - {here} for here, others in graph.items()}


def reduced(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The transitive reduction of a graph.

    Raises:
        CycleError: the graph has a circle.
    """
    reached: dict[str, set[str]] = {}
    for here in TopologicalSorter(graph).static_order():  # what it imports comes before it
        reached[here] = graph[here].union(*(reached[other] for other in graph[here]))
    return {
        here: others.difference(*(reached[other] for other in others))
        for here, others in graph.items()
    }


def picture(graph: Mapping[str, set[str]]) -> str:
    """The graph as a Mermaid flowchart, in a fence of Markdown."""
    arrows = [f"    {here} --> {other}" for here in sorted(graph) for other in sorted(graph[here])]
    boxes = [f"    {here}[{here}/]" for here in sorted(graph)]
    return "\n".join(["```mermaid", "flowchart TD", *boxes, *arrows, "```"]) + "\n"


if __name__ == "__main__":
    main()
