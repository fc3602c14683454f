"""The contract of an adapted detector, checked on real images before it is calibrated."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.adapted.adapters.output import first_line
from ifnormal.detectors.adapted.detector import AdaptedDetector
from ifnormal.detectors.adapted.preprocessing import preprocess

# Scores may differ by this share of their spread over the images, and by float32's own noise.
_OF_SPREAD, _OF_SIZE = 0.01, 1e-4
_ALONE, _ENOUGH = 8, 4


def check_contract(detector: AdaptedDetector, images: Tensor) -> dict[str, Any]:
    """Check what the training and the explanation of counterfactuals rely on.

    A detector has to give N images N finite scores that are not all the same. An image has to get
    the same score each time, alone and in a batch, and from the other engine of an ONNX file. The
    gradient has to be finite and not zero, unless the detector is a black box.

    Args:
        detector: calibrated or not.
        images: (N, C, H, W) uint8, real ones.

    Returns:
        JSON facts: sizes of the differences found, share of images without a gradient, `notes`.

    Raises:
        UserError: what is broken, with numbers and what usually helps.
    """
    name = detector.model.spec or f"The {detector.model.name}"
    floats = to_float(images)
    scores = _scores(detector, floats, name)
    _check_finite(scores, images, name)
    _check_differs(detector, floats, scores, name)
    tolerance = _tolerance(scores)
    facts: dict[str, Any] = {
        "images": len(images),
        "scores": [float(scores.min()), float(scores.max())],
        "twice": _check_twice(detector, floats, scores, tolerance, name),
        "alone": _check_alone(detector, floats, scores, tolerance, name),
    }
    notes = []
    if detector.model.reference is not None:
        facts["reference"] = _check_reference(detector, floats, scores, tolerance, name)
    if not detector.is_black_box:
        facts["without_gradient"], note = _check_gradient(detector, floats, name)
        notes += [note] if note else []
    if removed := detector.model.activation.description:
        notes.append(
            f"The {removed} at the end of the model is left out while explaining, so that the "
            "gradient survives; scores are shown with it."
        )
    facts["notes"] = notes
    return facts


def _scores(detector: AdaptedDetector, floats: Tensor, name: str) -> Tensor:
    """Scores (N,) in the model's own units, without a gradient."""
    try:
        with torch.no_grad():
            return detector.own(floats).double().cpu()
    except UserError:
        raise
    except Exception as error:  # a user's model fails in its own ways
        raise UserError(
            f"{name} fails on images {tuple(floats.shape)}, given to it after its preprocessing "
            f"({type(error).__name__}: {first_line(error)}); correct the preprocessing's size, "
            "crop or channels, or the model."
        ) from error


def _check_finite(scores: Tensor, images: Tensor, name: str) -> None:
    if len(scores) != len(images):
        raise UserError(f"{name} gives {len(scores)} scores for {len(images)} images; return one.")
    bad = int((~torch.isfinite(scores)).sum())
    if bad:
        raise UserError(
            f"{name} gives {bad} of {len(scores)} images a score that is NaN or infinite; check "
            "the value range, mean and std of its preprocessing."
        )


def _check_differs(detector: AdaptedDetector, floats: Tensor, scores: Tensor, name: str) -> None:
    """Compare the scores before the clip or sigmoid that is left out while explaining."""
    if detector.model.activation.description:
        with torch.no_grad():
            scores = detector.inspect(floats)[0].double().cpu()
    same = len(scores) >= _ENOUGH and float(scores.max() - scores.min()) == 0.0
    if same and not bool((floats == floats[:1]).all()):
        raise UserError(
            f"{name} gives all {len(scores)} images the same score, {float(scores[0]):g}; where a "
            "post-processor clips it, give the score before the clip, else check the value range "
            "of its preprocessing."
        )


def _tolerance(scores: Tensor) -> float:
    return _OF_SPREAD * float(scores.max() - scores.min()) + _OF_SIZE * float(scores.abs().max())


def _check_twice(
    detector: AdaptedDetector, floats: Tensor, scores: Tensor, tolerance: float, name: str
) -> float:
    largest = float((_scores(detector, floats, name) - scores).abs().max())
    if largest > tolerance:
        raise UserError(
            f"{name} gives the same images other scores at a second time, by up to {largest:.3g} "
            f"where {tolerance:.3g} would pass; something in it is random even in evaluation mode, "
            "such as dropout in the training mode: fix its seed or export it after eval()."
        )
    return largest


def _check_alone(
    detector: AdaptedDetector, floats: Tensor, scores: Tensor, tolerance: float, name: str
) -> float:
    few = floats[:_ALONE]
    alone = torch.cat([_scores(detector, image[None], name) for image in few])
    largest = float((alone - scores[: len(few)]).abs().max())
    if largest > tolerance:
        worst = int((alone - scores[: len(few)]).abs().argmax())
        raise UserError(
            f"{name} scores an image {float(alone[worst]):.6g} alone and "
            f"{float(scores[worst]):.6g} in a batch of {len(floats)}; it must not mix the images: "
            "put batch normalisation into evaluation mode, or take no minimum, maximum or mean "
            "over the batch."
        )
    return largest


def _check_reference(
    detector: AdaptedDetector, floats: Tensor, scores: Tensor, tolerance: float, name: str
) -> dict[str, float]:
    assert detector.model.reference is not None
    prepared = preprocess(floats, detector.preprocessing)
    wanted = detector.model.reference(prepared).double().cpu()
    difference = (wanted - scores).abs()
    largest, worst = float(difference.max()), int(difference.argmax())
    if not largest <= tolerance:
        raise UserError(
            f"{name} scores an image {float(wanted[worst]):.6g} in onnxruntime but "
            f"{float(scores[worst]):.6g} when it is made differentiable, and {tolerance:.3g} apart "
            "would pass; export it with another opset_version or as .pt2, or explain it as a black "
            "box (black_box=True, --black-box)."
        )
    return {"largest": largest, "mean": float(difference.mean()), "tolerance": tolerance}


def _check_gradient(detector: AdaptedDetector, floats: Tensor, name: str) -> tuple[float, str]:
    """The share of images whose score has no gradient, and a note on it."""
    given = floats.clone().requires_grad_()
    with torch.enable_grad(), warnings.catch_warnings():
        # The error below says more than torch's warning.
        warnings.simplefilter("ignore", UserWarning)
        log_odds, features = detector.inspect(given)
        slope = None
        if log_odds.requires_grad:
            (slope,) = torch.autograd.grad(log_odds.sum(), given, allow_unused=True)
    if slope is None:
        raise UserError(
            f"{name} gives scores that do not depend on the images by any torch operation, so "
            "there is no gradient; compute in torch throughout, without detach() or no_grad(), "
            "or declare it a black box (black_box=True, --black-box)."
        )
    norms = slope.flatten(1).double().norm(dim=1)
    broken = int((~torch.isfinite(norms)).sum())
    if broken:
        raise UserError(
            f"{name} has a gradient that is NaN or infinite at {broken} of {len(norms)} images; a "
            "root or logarithm of 0 is the usual cause: add a small number, or declare it a black "
            "box (black_box=True, --black-box)."
        )
    share = float((norms == 0).double().mean())
    cause = (
        "a score that is clipped or normalised, as by anomalib's post-processor, or a saturated "
        "sigmoid is the usual cause: return the score before that"
    )
    if share == 1:
        raise UserError(
            f"{name} has a gradient of zero at all {len(norms)} images; {cause}, or declare it a "
            "black box (black_box=True, --black-box)."
        )
    if not bool(torch.isfinite(features).all()):
        raise UserError(f"{name} has features that are NaN or infinite; give others as features=.")
    if share > 0:
        return share, f"{share:.0%} of the images have a gradient of zero; {cause}."
    return share, ""
