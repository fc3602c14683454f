"""Any function from an image tensor to scores; one without a gradient is a black box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters.adapter import Adapter, AdapterOptions
from ifnormal.detectors.adapted.adapters.features import features_from
from ifnormal.detectors.adapted.adapters.output import scores_of
from ifnormal.detectors.adapted.score_model import ScoreModel

_NAME = "python function"


def wrap_function(function: Callable[[Tensor], Any], options: AdapterOptions) -> ScoreModel:
    """A function of (N, C, H, W) images; its features are a description of the images.

    A black box is given tensors on the CPU that need no gradient, so that it may turn them into
    arrays.
    """
    label = f"The function {getattr(function, '__name__', type(function).__name__)}"
    features, black_box = options.feature_function(label), bool(options.black_box)

    def scoring(images: Tensor) -> tuple[Tensor, Tensor | None]:
        if black_box:
            with torch.no_grad():
                scores = scores_of(function(images.detach().cpu()), len(images), label)
            scores = scores.to(images.device)
        else:
            scores = scores_of(_call(function, images, label), len(images), label)
        return scores, None if features is None else features_from(features, images)

    return ScoreModel(scoring, _NAME, black_box=black_box)


def _call(function: Callable[[Tensor], Any], images: Tensor, label: str) -> Any:
    try:
        return function(images)
    except RuntimeError as error:
        if "requires grad" not in str(error):  # torch's refusal to make an array of such a tensor
            raise
        raise UserError(
            f"{label} leaves torch on the way to its score, so it has no gradient; compute in "
            "torch throughout, or declare it a black box (black_box=True, --black-box)."
        ) from None


ADAPTER = Adapter(
    name=_NAME,
    meaning="any function of an image tensor (N, C, H, W) that returns N scores",
    takes=callable,
    wrap=wrap_function,
)
