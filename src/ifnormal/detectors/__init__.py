"""Detectors: the base class, the built-in objectives and their training."""

from ifnormal.detectors.builtin.bce import BCE
from ifnormal.detectors.builtin.dsvdd import DSVDD
from ifnormal.detectors.builtin.fcdd import FCDD
from ifnormal.detectors.builtin.hsc import HSC
from ifnormal.detectors.builtin.objective import DetectorObjective

OBJECTIVES: dict[str, DetectorObjective] = {
    objective.name: objective for objective in (BCE, HSC, DSVDD, FCDD)
}

__all__ = ["OBJECTIVES", "DetectorObjective"]
