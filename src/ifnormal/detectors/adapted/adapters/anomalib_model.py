"""Lightning models of anomalib, recognised by their attributes; anomalib is not imported."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from ifnormal.detectors.adapted.adapters.adapter import Adapter, AdapterOptions
from ifnormal.detectors.adapted.adapters.features import extractor
from ifnormal.detectors.adapted.adapters.output import scores_of
from ifnormal.detectors.adapted.score_model import ScoreModel

_NAME = "anomalib"


def wrap_anomalib(model: nn.Module, options: AdapterOptions) -> ScoreModel:
    """A model with `model`, `pre_processor` and `post_processor`, as anomalib 2 has.

    Scores are taken before the post-processor, which clips them to [0, 1] and so removes their
    gradient. The threshold is its `image_threshold`, in the same raw units. The pre-processor
    resizes and normalises, so the images need no other preprocessing.
    """
    pre, inner = getattr(model, "pre_processor", None), model.get_submodule("model")
    extract = extractor(inner, options.features)

    def scoring(images: Tensor) -> tuple[Tensor, Tensor | None]:
        prepared = images if pre is None else pre(images)
        scores = scores_of(inner(prepared), len(images), "The anomalib model")
        return scores, extract(images)

    return ScoreModel(
        scoring,
        _NAME,
        module=model,
        black_box=bool(options.black_box),
        threshold=_threshold(model.post_processor),
        input_shape=(3, None, None),
        facts={"model": type(model).__name__},
    )


def _threshold(post_processor: Any) -> float | None:
    value = getattr(post_processor, "image_threshold", None)
    if value is None or math.isnan(float(value)):
        return None
    return float(value)


def _is_anomalib(value: Any) -> bool:
    return (
        isinstance(value, nn.Module)
        and isinstance(getattr(value, "model", None), nn.Module)
        and hasattr(value, "post_processor")
    )


ADAPTER = Adapter(
    name=_NAME,
    meaning="a trained anomalib model; exported, it is a model.onnx or model.pt2 like any other",
    takes=_is_anomalib,
    wrap=wrap_anomalib,
)
