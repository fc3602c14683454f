"""Detectors: the protocol, the built-in objectives and their training."""

from ifnormal.detectors.bce import BCE
from ifnormal.detectors.dsvdd import DSVDD
from ifnormal.detectors.fcdd import FCDD
from ifnormal.detectors.hsc import HSC
from ifnormal.detectors.objective import DetectorObjective

OBJECTIVES: dict[str, DetectorObjective] = {
    objective.name: objective for objective in (BCE, HSC, DSVDD, FCDD)
}

__all__ = ["OBJECTIVES", "DetectorObjective"]
