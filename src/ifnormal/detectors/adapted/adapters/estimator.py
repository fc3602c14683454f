"""scikit-learn and PyOD estimators, on pixels or on features of images: black boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters.adapter import Adapter, AdapterOptions
from ifnormal.detectors.adapted.adapters.features import pooled
from ifnormal.detectors.adapted.adapters.output import first_line, scores_of
from ifnormal.detectors.adapted.score_model import ScoreModel
from ifnormal.explanation.entries import HigherIs

_NAME = "estimator"
_METHODS = ("decision_function", "score_samples")


def wrap_estimator(estimator: Any, options: AdapterOptions) -> ScoreModel:
    """A fitted estimator with `decision_function` or, failing that, `score_samples`.

    It is given one row an image: what `features` returns, else the pixels in the order that
    `np.asarray(image).ravel()` has, row by row with the channels last.

    In scikit-learn a high score means normal and 0 is the threshold of `decision_function`; of a
    classifier of two classes, a high score means the second. In PyOD a high score means anomalous
    and the threshold is `threshold_`.
    """
    label = f"The estimator {type(estimator).__name__}"
    features = options.feature_function(label)
    if options.black_box is False:
        raise UserError(f"{label} has no gradient; leave black_box away.")
    method = next(name for name in _METHODS if _offers(estimator, name))
    score = getattr(estimator, method)

    def scoring(images: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad():
            images = images.detach().cpu()
            given = _rows(images) if features is None else features(images)
            rows = np.asarray(given, dtype=np.float64)
        if rows.ndim != 2 or len(rows) != len(images):
            raise UserError(
                f"The features function returns {rows.shape} for {len(images)} images; return "
                f"({len(images)}, F) numbers."
            )
        try:
            scores = scores_of(np.asarray(score(rows), np.float64), len(images), label)
        except ValueError as error:
            raise UserError(
                f"{label} does not take {rows.shape[1]} numbers an image ({first_line(error)}); it "
                "was fitted on images of another size, or on features: give those as features=."
            ) from None
        if features is None:
            return scores, None
        return scores, pooled(torch.from_numpy(rows).float(), len(images))

    higher_is, threshold = _conventions(estimator, method)
    return ScoreModel(
        scoring,
        _NAME,
        black_box=True,
        higher_is=higher_is,
        threshold=threshold,
        facts={"method": method, "estimator": type(estimator).__name__},
    )


def _rows(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).flatten(1)


def _conventions(estimator: Any, method: str) -> tuple[HigherIs, float | None]:
    """What a high score means, and the estimator's own threshold."""
    own = getattr(estimator, "threshold_", None)
    if own is not None and hasattr(estimator, "decision_scores_"):  # PyOD
        return "anomalous", float(own)
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if getattr(last, "_estimator_type", None) == "classifier" or hasattr(last, "classes_"):
        return "anomalous", 0.0 if method == "decision_function" else None
    return "normal", 0.0 if method == "decision_function" else None


def _offers(estimator: Any, name: str) -> bool:
    try:  # a pipeline offers what its last step does, and raises otherwise
        return callable(getattr(estimator, name, None))
    except Exception:  # properties of strangers
        return False


def _is_estimator(value: Any) -> bool:
    return not isinstance(value, type) and any(_offers(value, name) for name in _METHODS)


ADAPTER = Adapter(
    name=_NAME,
    meaning="scikit-learn or PyOD: decision_function or score_samples, on pixels or features",
    takes=_is_estimator,
    wrap=wrap_estimator,
)
