"""Every option there is, as frozen dataclasses checked when made; the command line is these.

No torch here: `ifnormal --help` reads these files and must answer at once.
"""

from ifnormal.config.backbone import BackboneConfig
from ifnormal.config.checks import require_seed
from ifnormal.config.data import DATA_PATHS, DataConfig, data_config
from ifnormal.config.demo import Budget, DemoConfig
from ifnormal.config.detector import DetectorConfig, Objective, Preprocessing, preprocessing_config
from ifnormal.config.diffusion import DiffusionConfig, diffusion_config
from ifnormal.config.explain import ExplainConfig, RefineConfig, ThriftConfig
from ifnormal.config.fit import (
    SMALL_SIDE,
    FitConfig,
    GeneratorConfig,
    SurrogateConfig,
    Weights,
    adapted_to,
    fit_config,
)

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
