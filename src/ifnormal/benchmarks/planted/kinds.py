"""The planted reasons, with the options of their runs. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ifnormal.benchmarks.experiment import BenchBudget

# Criteria, besides acceptance by the detector, of a counterfactual that changes the reason and
# nothing else. "judge": one planted attribute became normal and no other one changed, according to
# the judge; "inside": the reason is undone inside the planted region; "outside": nothing changed
# outside of it.
Criterion = Literal["judge", "inside", "outside"]

SIGNS = "gtsrb"  # a folder of the data root

# For trained detectors. Only one normal image in a hundred may be flagged, so that a perfect edit
# can pass; nothing but the reason differs between the images, so this costs nothing.
_OPTIONS = {"detector.steps": 400, "detector.false_alarm_rate": 0.01, "judge_steps": 600}
# One reason needs one concept; `either` has two reasons and the default K.
_ONE_CONCEPT = {"fit.concepts": 1}
# Where the reason is small, edits must leave the other pixels alone. L_cyc would make the generator
# hide faint traces of what an edit removes, and structure does not matter here.
_SPARING = {
    **_ONE_CONCEPT,
    "fit.weights.gan": 0.5,
    "fit.weights.cycle": 0.0,
    "fit.weights.minimality": 40.0,
    "fit.weights.structure": 0.0,
}
_PAPER_STEPS = 3000


@dataclass(frozen=True)
class PlantedKind:
    """One planted reason.

    Attributes:
        name: the setup's id is "planted/<name>".
        title: the reason, in words.
        criteria: how its counterfactuals are judged; () if only their size is measured.
        tuned: options chosen for this reason in place of the defaults, by dotted names.
        small_steps: steps of the generator in the small budget.
        formula: whether the detector is a formula instead of a trained network.
        signs: whether it is planted in traffic signs, which need a download.
    """

    name: str
    title: str
    criteria: tuple[Criterion, ...]
    tuned: Mapping[str, Any]
    small_steps: int
    formula: bool = False
    signs: bool = False

    @property
    def setup(self) -> str:
        """The id of its setup."""
        return f"planted/{self.name}"

    @property
    def has_place(self) -> bool:
        """Whether the reason lies in a region of the image."""
        return self.criteria != ("judge",)

    def options(self, budget: BenchBudget) -> dict[str, Any]:
        """Every option that is not the default, by dotted names."""
        steps = self.small_steps if budget == "small" else _PAPER_STEPS
        return {**_OPTIONS, **self.tuned, "fit.steps": steps}


KINDS = {
    kind.name: kind
    for kind in (
        PlantedKind(
            "colour", "colour alone: cyan digits are normal", ("judge",), _ONE_CONCEPT, 600
        ),
        PlantedKind("shape", "shape alone: ones are normal", ("judge",), _ONE_CONCEPT, 800),
        PlantedKind(
            "either", "colour or shape: cyan digits and ones are normal", ("judge",), {}, 1000
        ),
        PlantedKind(
            "watermark",
            "a watermark in the corner makes signs normal",
            ("inside", "outside"),
            _SPARING,
            600,
            signs=True,
        ),
        PlantedKind(
            "watermark-removed",
            "a watermark in the corner makes signs anomalous",
            ("inside", "outside"),
            _SPARING,
            600,
            signs=True,
        ),
        PlantedKind(
            "background",
            "digits on grass are normal, on sand not",
            ("judge", "outside"),
            _ONE_CONCEPT,
            600,
        ),
        PlantedKind(
            "patch",
            "formula: a patch is too dark",
            ("outside",),
            _SPARING,
            600,
            formula=True,
            signs=True,
        ),
        # A little red is everywhere, so that there is no region to leave alone.
        PlantedKind(
            "red",
            "formula: too much of the sign is red",
            (),
            _SPARING,
            600,
            formula=True,
            signs=True,
        ),
    )
}


def missing(data_root: Path | None) -> dict[str, str]:
    """Setups whose images are not in the data root -> what is missing."""
    if data_root is not None and any((data_root / SIGNS).rglob("*.parquet")):
        return {}
    sentence = f"{SIGNS}: ifnormal bench list --only '{SIGNS}/*' tells how to get it"
    return {kind.setup: sentence for kind in KINDS.values() if kind.signs}
