"""The planted reasons by name, and the options each is explained with. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ifnormal.benchmarks.bench_run import BenchBudget

# By what it is measured whether a counterfactual changed the reason and nothing else.
Measure = Literal["judge", "place", "judge and place", "formula"]

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


@dataclass(frozen=True)
class PlantedKind:
    """One planted reason.

    Attributes:
        name: the setup's id is "planted/<name>".
        title: the reason, in words.
        measure: how the counterfactuals are measured.
        options: what differs from the defaults, by dotted names.
        steps: of the generator, by budget.
    """

    name: str
    title: str
    measure: Measure
    options: Mapping[str, Any]
    steps: Mapping[BenchBudget, int]

    @property
    def setup(self) -> str:
        """The id of its setup."""
        return f"planted/{self.name}"

    @property
    def learned(self) -> bool:
        """Whether the detector is trained; it is a formula otherwise."""
        return self.measure != "formula"


def _kind(name: str, title: str, measure: Measure, options: Mapping[str, Any], small: int) -> None:
    KINDS[name] = PlantedKind(name, title, measure, options, {"small": small, "paper": 3000})


KINDS: dict[str, PlantedKind] = {}
_kind("colour", "colour alone: cyan digits are normal", "judge", _ONE_WAY, 600)
_kind("shape", "shape alone: ones are normal", "judge", _ONE_WAY, 800)
_kind("either", "colour or shape: cyan digits and ones are normal", "judge", {}, 1000)
_kind("watermark", "a watermark in the corner makes signs normal", "place", _SPARING, 600)
_kind(
    "watermark-removed", "a watermark in the corner makes signs anomalous", "place", _SPARING, 600
)
_kind("background", "digits on grass are normal, on sand not", "judge and place", _ONE_WAY, 600)
_kind("patch", "formula: a patch is too dark", "formula", _SPARING, 600)
_kind("red", "formula: too much of the sign is red", "formula", _SPARING, 600)
