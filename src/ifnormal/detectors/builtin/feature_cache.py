"""Cache of features on disk, so that those of the same images are computed once.

It lies beside the cache of decoded images, in `$IFNORMAL_CACHE/features` or
`~/.cache/ifnormal/features`, and may be deleted at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ifnormal.common.storage import open_atomic
from ifnormal.data.sources.decoded_cache import cache_folder
from ifnormal.detectors.fingerprint import digest
from ifnormal.features.extractor import FeatureExtractor

# Features of fewer images take a few seconds.
LEAST_IMAGES = 200
MOST_BYTES = 2**30
_VERSION = 1


def cached_features(
    extractor: FeatureExtractor, images: Tensor, what: str, compute: Callable[[], Tensor]
) -> Tensor:
    """Features (N, ...) float32 of (N, C, H, W) uint8 images, from the cache if they are there.

    Others are computed and kept; what was used least recently makes room for them. Several
    processes may use the cache at once. If it cannot be written, features are computed every time.

    Args:
        extractor: whose weights and side are part of the key.
        images: whose pixels are part of the key.
        what: names the function of the extractor.
        compute: the features.
    """
    if len(images) < LEAST_IMAGES:
        return compute()
    weights = digest(extractor.state_dict())
    key = digest({f"{_VERSION} {what} {weights} {extractor.side}": images})
    path = cache_folder() / "features" / f"{key[:32]}.npy"
    if (kept := _kept(path, len(images))) is not None:
        return kept
    features = compute()
    try:
        with open_atomic(path, durable=False) as file:
            np.save(file, features.numpy(), allow_pickle=False)
        _prune(path.parent)
    except OSError:
        pass  # a full disk or no permission; the features are computed already
    return features


def _kept(path: Path, count: int) -> Tensor | None:
    try:
        array = np.load(path, allow_pickle=False)
        path.touch()  # it was used
    except (OSError, ValueError, EOFError):
        return None
    is_sound = array.dtype == np.float32 and array.ndim >= 2 and len(array) == count
    return torch.from_numpy(array) if is_sound else None


def _prune(folder: Path) -> None:
    """Remove the files that were used least recently, until the others are small enough."""
    found = []
    for path in folder.iterdir():
        try:
            facts = path.stat()
        except FileNotFoundError:
            continue  # another process was faster
        found.append((facts.st_mtime_ns, facts.st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)
