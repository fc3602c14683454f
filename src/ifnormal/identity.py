"""Identity: digests that tell one set of images, weights or detectors from another."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.detectors.detector import (
    Detector,
    detector_facts,
    device_of,
    higher_is,
    in_batches,
    own_scores,
    own_threshold,
)
from ifnormal.pixels import quantize

# Other machines differ in the last digits of a score, other detectors in more.
_SAME_SCORE = 1e-3
_PICTURES = 8
_NAMES = ("name", "spec", "sha256")


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of tensors by name: of names, types, shapes and values."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        whole.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        whole.update(value.flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def detector_identity(detector: Detector) -> dict[str, Any]:
    """What tells a detector from another, as far as it can be told; JSON-compatible."""
    facts = detector_facts(detector)
    return {
        **{name: facts[name] for name in _NAMES if name in facts},
        "shape": list(detector.shape),
        "threshold": own_threshold(detector),
        "calibrated_threshold": float(detector.threshold),
        "higher_is": higher_is(detector),
        "weights": digest(detector.state_dict()) if isinstance(detector, nn.Module) else None,
    }


def probe(detector: Detector) -> list[float]:
    """Own scores of a few fixed pictures: a detector without weights is known by what it does."""
    random, device = torch.Generator().manual_seed(0), device_of(detector)
    colours = torch.rand(_PICTURES, detector.shape[0], 1, 1, generator=random)
    noise = torch.rand(_PICTURES, *detector.shape, generator=random)
    pictures = quantize(0.6 * colours + 0.4 * noise)
    log_odds = in_batches(lambda batch: detector.inspect(batch.to(device))[0], pictures)
    return own_scores(detector, log_odds).nan_to_num(0.0, 1e30, -1e30).tolist()


def same_scores(before: Any, after: Sequence[float]) -> bool:
    """Whether two lists of scores are the same but for what other machines make of them."""
    return (
        isinstance(before, list)
        and len(before) == len(after)
        and all(isinstance(score, float | int) for score in before)
        and all(
            math.isclose(a, b, rel_tol=_SAME_SCORE, abs_tol=_SAME_SCORE)
            for a, b in zip(before, after, strict=True)
        )
    )
