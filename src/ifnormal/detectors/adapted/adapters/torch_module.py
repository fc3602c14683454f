"""Torch modules that take images and return scores."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ifnormal.detectors.adapted.adapters.adapter import Adapter, AdapterOptions
from ifnormal.detectors.adapted.adapters.features import extractor
from ifnormal.detectors.adapted.adapters.output import scores_of
from ifnormal.detectors.adapted.score_model import ScoreModel

_NAME = "torch module"


def wrap_module(module: nn.Module, options: AdapterOptions, name: str = _NAME) -> ScoreModel:
    """A module; its features are the input of the last linear or convolutional layer it runs."""
    extract = extractor(module, options.features)
    label = f"The module {type(module).__name__}"

    def scoring(images: Tensor) -> tuple[Tensor, Tensor | None]:
        scores = scores_of(module(images), len(images), label)
        return scores, extract(images)

    return ScoreModel(
        scoring,
        name,
        module=module,
        black_box=bool(options.black_box),
        input_shape=_channels(module),
    )


def _channels(module: nn.Module) -> tuple[int | None, None, None]:
    """What the first layer says about the channels of its input."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels, None, None
        if isinstance(layer, nn.Linear):
            break
    return None, None, None


def _is_module(value: Any) -> bool:
    return isinstance(value, nn.Module)


ADAPTER = Adapter(
    name=_NAME,
    meaning="any torch.nn.Module that returns N scores, an anomaly map, or anomalib's outputs",
    takes=_is_module,
    wrap=wrap_module,
)
