"""Gradient descent on the codes of an autoencoder, so that edits are images that it can decode.

This is how REVISE (Joshi et al. 2019) keeps the descent of Wachter et al. away from adversarial
noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.benchmarks.heatmaps.autoencoder import Autoencoder, train_autoencoder
from ifnormal.common.pixels import quantize, to_float
from ifnormal.detectors.detector import Detector, batch_size_for, in_batches
from ifnormal.explainers.scored_edits import answer
from ifnormal.explanation.explanation import Explanation

_RATE = 0.1
_DISTANCE = 0.01


def latent_gradient(
    detector: Detector,
    anomalies: Tensor,
    normal: Tensor,
    names: Sequence[str],
    seed: int,
    steps: int = 200,
    training_steps: int = 2000,
) -> Explanation:
    """Train an autoencoder, then change the code of each anomaly until its decoding is accepted.

    Adam minimises the detector's log-odds plus the pixel distance to the anomaly and stops at the
    first decoding that the detector accepts in 8 bit. The autoencoder is trained on normal images
    only, so decodings lack some details of the anomalies.

    Args:
        detector: provides the gradient.
        anomalies: (N, C, H, W) uint8.
        normal: (M, C, H, W) uint8, normal images to train the autoencoder with.
        names: N names.
        seed: of the autoencoder.
        steps: of the descent.
        training_steps: of the autoencoder.

    Returns:
        An Explanation with K = 1 and no traversals.
    """
    network = train_autoencoder(normal, seed, training_steps)
    parts = [
        _descend(detector, network, part, steps)
        for part in anomalies.split(batch_size_for(anomalies, gradients=True))
    ]
    facts = {
        "method": "gradient descent on the codes of an autoencoder",
        "steps": steps,
        "training_steps": training_steps,
        "restoration_error": _error(network, anomalies) if len(anomalies) else None,
    }
    return answer(detector, anomalies, torch.cat(parts)[:, None], names, facts)


@torch.enable_grad()
def _descend(detector: Detector, network: Autoencoder, images: Tensor, steps: int) -> Tensor:
    """(N, C, H, W) uint8 decodings, accepted where one was found."""
    start = to_float(images)
    with torch.no_grad():
        code = network.code(network.down(start))
    code.requires_grad_(True)
    optimizer = torch.optim.Adam([code], lr=_RATE)
    found, accepted = images.clone(), torch.zeros(len(images), dtype=torch.bool)
    for step in range(steps + 1):
        decoded = _decode(network, code)
        with torch.no_grad():
            # Checked in 8 bit, as saved. An accepted decoding is not changed any more.
            found[~accepted] = quantize(decoded)[~accepted]
            accepted |= detector(to_float(found)) <= detector.threshold
        if step == steps or bool(accepted.all()):
            break
        log_odds, _ = detector.inspect(decoded)
        distance = (decoded - start).abs().sum((1, 2, 3))
        optimizer.zero_grad(set_to_none=True)
        (code.grad,) = torch.autograd.grad((log_odds + _DISTANCE * distance).sum(), code)
        optimizer.step()
    return found


def _decode(network: Autoencoder, code: Tensor) -> Tensor:
    """(N, F) codes to (N, C, H, W) images in [0, 1]."""
    restored = network.up(network.back(code))
    return F.interpolate(restored, network.size, mode="bilinear", align_corners=False).clamp(0, 1)


def _error(network: Autoencoder, images: Tensor) -> float:
    """Mean squared error of the autoencoder on images (N, C, H, W) uint8."""
    error = in_batches(lambda part: (network(part) - part).square().mean((1, 2, 3)), images)
    return error.mean().item()
