"""ifnormal: what would have to change in this image for the detector to call it normal?

The names below are loaded when first used, so that `import ifnormal` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ifnormal.version import __version__

if TYPE_CHECKING:
    from ifnormal.common.errors import DivergenceError, UserError
    from ifnormal.config import (
        DataConfig,
        DetectorConfig,
        FitConfig,
        GeneratorConfig,
        Preprocessing,
        Weights,
    )
    from ifnormal.data import load_setup
    from ifnormal.data.files.reading import read_images
    from ifnormal.data.setups.setup import AnomalySetup
    from ifnormal.detectors.adapted.detector import adapt
    from ifnormal.detectors.builtin.trained import TrainedDetector
    from ifnormal.detectors.builtin.training import train_detector
    from ifnormal.detectors.detector import Detector
    from ifnormal.detectors.loading import load_detector
    from ifnormal.explainers.diffusion.latent_explainer import LatentExplainer
    from ifnormal.explainers.diffusion.loading import load_backbone
    from ifnormal.explainers.explainer import Explainer
    from ifnormal.explanation.explanation import Explanation
    from ifnormal.report import write_report


__all__ = [
    "AnomalySetup",
    "DataConfig",
    "Detector",
    "DetectorConfig",
    "DivergenceError",
    "Explainer",
    "Explanation",
    "FitConfig",
    "GeneratorConfig",
    "LatentExplainer",
    "Preprocessing",
    "TrainedDetector",
    "UserError",
    "Weights",
    "__version__",
    "adapt",
    "load_backbone",
    "load_detector",
    "load_setup",
    "read_images",
    "train_detector",
    "write_report",
]

_HOMES = {
    "AnomalySetup": "data.setups.setup",
    "DataConfig": "config",
    "Detector": "detectors.detector",
    "DetectorConfig": "config",
    "DivergenceError": "common.errors",
    "Explainer": "explainers.explainer",
    "Explanation": "explanation.explanation",
    "FitConfig": "config",
    "GeneratorConfig": "config",
    "LatentExplainer": "explainers.diffusion.latent_explainer",
    "Preprocessing": "config",
    "TrainedDetector": "detectors.builtin.trained",
    "UserError": "common.errors",
    "Weights": "config",
    "adapt": "detectors.adapted.detector",
    "load_backbone": "explainers.diffusion.loading",
    "load_detector": "detectors.loading",
    "load_setup": "data",
    "read_images": "data.files.reading",
    "train_detector": "detectors.builtin.training",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
