"""All options, as frozen dataclasses that check their values; the command line is made of them.

Nothing here imports torch, because `ifnormal --help` reads these files and must be fast.
"""

from ifnormal.config.backbone import BackboneConfig
from ifnormal.config.checks import require_seed
from ifnormal.config.data import DATA_PATHS, DataConfig, data_config
from ifnormal.config.demo import Budget, DemoConfig
from ifnormal.config.detector import DetectorConfig, Objective
from ifnormal.config.diffusion import DiffusionConfig, diffusion_config
from ifnormal.config.explain import ExplainConfig
from ifnormal.config.fit import SMALL_SIDE, FitConfig, GeneratorConfig, adapted_to, fit_config
from ifnormal.config.improvement import RefineConfig, ThriftConfig
from ifnormal.config.preprocessing import Preprocessing, preprocessing_config
from ifnormal.config.surrogate import SurrogateConfig
from ifnormal.config.weights import Weights

__all__ = [
    "DATA_PATHS",
    "SMALL_SIDE",
    "BackboneConfig",
    "Budget",
    "DataConfig",
    "DemoConfig",
    "DetectorConfig",
    "DiffusionConfig",
    "ExplainConfig",
    "FitConfig",
    "GeneratorConfig",
    "Objective",
    "Preprocessing",
    "RefineConfig",
    "SurrogateConfig",
    "ThriftConfig",
    "Weights",
    "adapted_to",
    "data_config",
    "diffusion_config",
    "fit_config",
    "preprocessing_config",
    "require_seed",
]
