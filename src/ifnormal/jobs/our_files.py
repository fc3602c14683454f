"""The files that ifnormal writes into a folder: only these are ever removed from it.

A user's own files may lie beside them. Files are described by the folder they are in and by a
regular expression for their names, so that nothing has to be searched but our own folders.
Loads no torch until an explainer is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import get_args

from ifnormal.common.storage import HALF_WRITTEN
from ifnormal.config import Objective
from ifnormal.config.editors import EDITORS
from ifnormal.explanation.pictures import PICTURE

# (folder below the one in question, regular expression for the names of files right in it)
Files = tuple[tuple[str, str], ...]

CONFIG, METRICS, TRUTH, REPORT = "config.json", "metrics.json", "truth.json", "report.html"
DETECTOR, EXPLAINER, JUDGE = "detector.json", "explainer.json", "judge.json"
LOSSES = "losses.jsonl"
FITTED_TO = "fitted_to.json"  # which detector the explainer beside it was fitted to
PARTS, JOB = "parts", "job.json"
OWN_IMAGES, SECOND = "own-images", "second-detector"
SECOND_OPINION, OPINION = "second-opinion", "opinion.json"


def _named(*names: str) -> str:
    return "|".join(re.escape(name) for name in names)


def _saved(*names: str) -> str:
    """What `save_tensors` writes under these names."""
    return rf"({_named(*names)})(\.json|-[0-9a-f]{{12}}\.safetensors)"


def below(folder: str, files: Files) -> Files:
    """The same files in a folder further down."""
    return tuple((f"{folder}/{inner}", names) for inner, names in files)


# The job last: as long as it is there, the rest is known to be ours.
EXPLANATION: Files = (
    ("images", PICTURE.pattern),
    (".", _saved("explanation")),
    (PARTS, r"part-\d{6,}\.json"),
    (PARTS, _named(JOB)),
)
REPORTED: Files = (*EXPLANATION[:-1], (".", _named(REPORT)), EXPLANATION[-1])


@cache
def checkpoints() -> tuple[str, ...]:
    """Names under which the editors save their checkpoints."""
    from ifnormal.explainers.editor import editor_class

    return tuple(name for editor in EDITORS for name in editor_class(editor).checkpoints)


def has_checkpoint(folder: Path, editor: str | None = None) -> bool:
    """Whether there is a checkpoint in the folder: of this editor, or by default of any."""
    from ifnormal.explainers.editor import editor_class

    names = checkpoints() if editor is None else editor_class(editor).checkpoints
    return any((folder / f"{name}.json").exists() for name in names)


def checkpoint_files() -> Files:
    """What a fit that broke off goes on from."""
    from ifnormal.detectors.black_box.queries import ANSWERS_FOLDER

    answers = r"answers-\d{9}-\d{9}"
    return (
        (".", _saved(*checkpoints())),
        (ANSWERS_FOLDER, rf"{answers}(\.json|-[0-9a-f]{{12}}\.safetensors)"),
    )


def explainer_files() -> Files:
    """A folder with an explainer, and what its fit left there."""
    logs = [f"{name}.jsonl" for name in checkpoints()]
    return (
        (".", _saved("explainer")),
        *checkpoint_files(),
        (".", _named(LOSSES, FITTED_TO, *logs)),
        ("detector", _saved("detector")),
        ("detector", _named(LOSSES)),
    )


def independent_files() -> Files:
    """Independent detectors, and last what they say of held-out images."""
    kinds = [(f"{SECOND_OPINION}/{kind}", _saved("detector")) for kind in get_args(Objective)]
    return (*kinds, (SECOND_OPINION, _named(OPINION)))


def run_files(stage: str) -> Files:
    """Files of a run folder that a stage makes, and those of all stages after it.

    The judge depends on the images alone, so only a new detector, which may have others, outdates
    it; and so do the second detector, which has the options of the first, and the independent ones,
    which are of other kinds.
    """
    made_by = {
        "detector": (
            ("detector", _saved("detector")),
            ("detector", _named(LOSSES)),
            ("judge", _saved("judge")),
            (SECOND, _saved("detector")),
            (SECOND, _named(LOSSES)),
            *independent_files(),
        ),
        "fit": (
            *below("explainer", explainer_files()),
            *below(f"{OWN_IMAGES}/explanation", EXPLANATION),
            *below(OWN_IMAGES, REPORTED),
        ),
        "explain": below("explanation", EXPLANATION),
        "evaluate": (*below("gradient", EXPLANATION), (".", _named(TRUTH, METRICS))),
        "report": ((".", _named(REPORT)),),
    }
    stages = list(made_by)
    later = stages[stages.index(stage) :]
    return tuple(entry for name in later for entry in made_by[name])


def find(folder: Path, files: Files) -> Iterator[Path]:
    """Those of the files that are there, half-written ones among them."""
    for name, pattern in files:
        place = folder / name
        for path in sorted(place.iterdir()) if place.is_dir() else []:
            half = HALF_WRITTEN.fullmatch(path.name)
            if re.fullmatch(pattern, half[1] if half else path.name) and not path.is_dir():
                yield path


def remove(folder: Path, files: Files) -> None:
    """Remove the files, and the folders below `folder` that are empty then."""
    emptied = set()
    for path in find(folder, files):
        path.unlink(missing_ok=True)
        emptied.add(path.parent)
    ours = {PurePosixPath(name) for name, _ in files}
    every = ours | {parent for name in ours for parent in name.parents}
    for name in sorted(every, key=lambda name: -len(name.parts)):
        place = folder / name
        if name.parts and place in emptied:
            with suppress(OSError):  # it holds a file of the user's
                place.rmdir()
                emptied.add(place.parent)
