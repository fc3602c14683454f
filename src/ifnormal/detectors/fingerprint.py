"""Fingerprints that tell one set of images, weights, files or detectors from another."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize
from ifnormal.detectors.detector import Detector, log_odds_of

# Scores of one detector differ between machines by rounding, which grows with the size of the
# scores. Larger differences, compared with the spread of the scores, mean another detector.
_OF_SPREAD, _OF_SIZE = 1e-3, 1e-4
_INFINITE = 1e30
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


def file_digest(path: Path, more_files: Sequence[str] = ()) -> str:
    """sha256 of a file and of others beside it, read in pieces.

    Raises:
        UserError: one of them is missing.
    """
    whole = hashlib.sha256()
    for part in (path, *(path.parent / name for name in more_files)):
        try:
            with part.open("rb") as file:
                while piece := file.read(2**20):
                    whole.update(piece)
        except FileNotFoundError:
            raise UserError(f"{part} is gone, which belongs to {path}; put it back.") from None
    return whole.hexdigest()


def detector_fingerprint(detector: Detector) -> dict[str, Any]:
    """What tells a detector from another, as far as it can be told; JSON-compatible."""
    module = detector.torch_module()
    return {
        **{name: detector.facts[name] for name in _NAMES if name in detector.facts},
        "shape": list(detector.shape),
        "threshold": detector.own_threshold,
        "calibrated_threshold": float(detector.threshold),
        "higher_is": detector.higher_is,
        "weights": None if module is None else digest(module.state_dict()),
    }


def probe_scores(detector: Detector) -> list[float]:
    """Own scores of a few fixed pictures, which also tell detectors without weights apart."""
    random = torch.Generator().manual_seed(0)
    colours = torch.rand(_PICTURES, detector.shape[0], 1, 1, generator=random)
    noise = torch.rand(_PICTURES, *detector.shape, generator=random)
    pictures = quantize(0.6 * colours + 0.4 * noise)
    scores = detector.own_units(log_odds_of(detector, pictures))
    return scores.nan_to_num(0.0, _INFINITE, -_INFINITE).tolist()


def same_scores(before: Any, after: Sequence[float]) -> bool:
    """Whether two lists of scores differ by no more than one detector's on two machines."""
    if not isinstance(before, list) or len(before) != len(after):
        return False
    if not all(isinstance(score, float | int) for score in before):
        return False
    finite = [score for score in before if abs(score) < 0.9 * _INFINITE] or [0.0]
    spread, size = max(finite) - min(finite), max(map(abs, finite))
    tolerance = _OF_SPREAD * spread + _OF_SIZE * size
    return all(
        math.isclose(a, b, rel_tol=1e-6, abs_tol=tolerance)
        for a, b in zip(before, after, strict=True)
    )
