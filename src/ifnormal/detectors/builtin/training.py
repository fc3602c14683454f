"""Training of the built-in detectors, readable from top to bottom."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ifnormal.common.compute import channels_last, make_fabric
from ifnormal.common.errors import DivergenceError
from ifnormal.common.pixels import to_float
from ifnormal.common.progress import Progress
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.batch import Batch, draw_batch
from ifnormal.detectors.builtin.calibration import calibrate, threshold_at
from ifnormal.detectors.builtin.networks import resolve_network
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.detector import in_batches

_REPORT_EVERY = 25
_BY_PIXELS = 0.1


def train_detector(
    setup: AnomalySetup, config: DetectorConfig, seed: int, log: Path | None = None
) -> TrainedDetector:
    """Train, calibrate and freeze a detector; the threshold comes from held-out normal images.

    Args:
        setup: training images, outlier exposure and held-out images.
        config: the objective and how long to train it.
        seed: makes the run repeatable.
        log: losses go here, one JSON object a line.

    Raises:
        DivergenceError: the loss became NaN or infinite.
    """
    from ifnormal.detectors import OBJECTIVES

    objective = OBJECTIVES[config.objective]
    config = resolve_network(config, objective, setup)
    fabric = make_fabric()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    detector = TrainedDetector(objective, config, setup.shape).to(fabric.device)
    detector = detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sample = setup.train_normal[torch.randperm(len(setup.train_normal), generator=generator)[:1024]]
    with torch.no_grad():
        detector.backbone.fit_statistics(to_float(sample).to(fabric.device))
        outputs, _ = detector.backbone(to_float(sample).to(fabric.device))
        detector.reference = objective.reference(outputs).to(fabric.device)
    optimizer = torch.optim.AdamW(
        detector.parameters(), lr=config.learning_rate, weight_decay=1e-4, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps
    )
    with Progress(f"detector ({objective.name})", config.steps, log) as progress:
        for step in range(1, config.steps + 1):
            batch = draw_batch(setup, objective, config, generator)
            batch = batch.to(fabric.device)
            with fabric.autocast():
                outputs, _ = detector.backbone(channels_last(batch.images))
            loss = _loss(detector, outputs.float(), batch)
            if not torch.isfinite(loss):
                raise DivergenceError(
                    f"The {objective.name} detector's loss became {loss.item()} at step {step}; "
                    "lower its learning_rate."
                )
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimizer.step()
            schedule.step()
            if step % _REPORT_EVERY == 0 or step == config.steps:
                progress.report(step, {"loss": loss.item()})
    if not all(bool(torch.isfinite(weight).all()) for weight in detector.parameters()):
        raise DivergenceError(
            f"A weight of the {objective.name} detector became NaN or infinite; "
            "lower its learning_rate."
        )
    return _finish(detector.cpu().to(memory_format=torch.contiguous_format), setup)


def _finish(detector: TrainedDetector, setup: AnomalySetup) -> TrainedDetector:
    """Freeze the detector, calibrate its scores and set its threshold, on held-out images."""
    detector.freeze()
    objective = detector.objective

    def raw(images: Tensor) -> Tensor:
        return objective.log_odds(detector.backbone(images)[0], detector.reference)

    normal = in_batches(raw, setup.validation_normal)
    if not bool(torch.isfinite(normal).all()):
        raise DivergenceError(
            f"The {objective.name} detector's scores became NaN or infinite; "
            "lower its learning_rate."
        )
    # A detector trained without outliers uses them as well, as they only set the scale of scores.
    outliers = in_batches(raw, setup.validation_outliers)
    detector.calibration = calibrate(normal, outliers)
    scores = detector.calibration(normal).sigmoid()
    detector.threshold = threshold_at(scores, detector.config.false_alarm_rate)
    return detector


def _loss(detector: TrainedDetector, outputs: Tensor, batch: Batch) -> Tensor:
    """The objective's loss, and a tenth of it by pixels where some images have masks.

    FCDD is trained by pixels alone there. With synthetic anomalies that made the detector worse
    (screws: AuROC 65 instead of 91) and the heatmap hardly better.
    """
    objective = detector.objective
    loss = objective.loss(outputs, batch.is_outlier, detector.reference)
    if objective.pixel_loss is None or batch.masks is None:
        return loss
    by_pixels = objective.pixel_loss(detector.heat_of(outputs), batch.masks).mean()
    return (1 - _BY_PIXELS) * loss + _BY_PIXELS * by_pixels
