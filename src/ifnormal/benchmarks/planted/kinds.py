"""The planted reasons by name, and the options each is explained with. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ifnormal.benchmarks.experiment import BenchBudget

# What a counterfactual is asked for that changed the reason and nothing else, besides that the
# detector accepts it: the judge's word that one planted attribute became normal and no other
# changed; that the reason is undone inside the planted place; that nothing changed outside of it.
Criterion = Literal["judge", "inside", "outside"]

SIGNS = "gtsrb"  # a folder of the data root

# For detectors that are trained. Threshold: one normal image in a hundred may be flagged. Nothing
# but the reason tells the images apart, so that a strict detector costs nothing, and a perfect edit
# may pass.
_OPTIONS = {"detector.steps": 400, "detector.false_alarm_rate": 0.01, "judge_steps": 600}
# One reason, one way: with more concepts than reasons the others could only be something else. The
# paper's K > 1 is for `either`.
_ONE_WAY = {"fit.concepts": 1}
# Where the reason is a small place or a small step, every pixel counts that is left alone. What the
# edit hides cannot be had back, so L_cyc would have it written down in faint colours elsewhere; and
# structure is no matter here.
_SPARING = {
    **_ONE_WAY,
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
        criteria: how its counterfactuals are measured; () where their size alone has to tell.
        tuned: what was chosen for this reason in place of the defaults, by dotted names.
        small_steps: of the generator, in the small budget.
        formula: whether the detector is a formula; it is trained otherwise.
        signs: whether it is planted in traffic signs; digits are there always.
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
        """Whether the reason is in some pixels of an image and not in others."""
        return self.criteria != ("judge",)

    def options(self, budget: BenchBudget) -> dict[str, Any]:
        """Every option that is not the default, by dotted names."""
        steps = self.small_steps if budget == "small" else _PAPER_STEPS
        return {**_OPTIONS, **self.tuned, "fit.steps": steps}


KINDS = {
    kind.name: kind
    for kind in (
        PlantedKind("colour", "colour alone: cyan digits are normal", ("judge",), _ONE_WAY, 600),
        PlantedKind("shape", "shape alone: ones are normal", ("judge",), _ONE_WAY, 800),
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
            _ONE_WAY,
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
        # Red is in many places a little, so that no place is to be left alone.
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
