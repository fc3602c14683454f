"""AdaptedDetector: a user's own model as a detector that can be explained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError
from ifnormal.config import Preprocessing
from ifnormal.detectors.adapted.adapters import AdapterOptions, Features, adapter_of, named
from ifnormal.detectors.adapted.adapters.features import described
from ifnormal.detectors.adapted.preprocessing import output_size, preprocess
from ifnormal.detectors.adapted.score_map import (
    ScoreMap,
    fit_score_map,
    look_like_probabilities,
    to_score,
)
from ifnormal.detectors.adapted.score_model import HigherIs, ScoreModel
from ifnormal.detectors.builtin.calibration import threshold_at
from ifnormal.detectors.detector import device_of, in_batches

# How many numbers go through a model at once where no gradient is asked for.
_NUMBERS = 2**22
_FALSE_ALARM_RATE = 0.05


@dataclass(frozen=True)
class RawScores:
    """A model's scores (N,) before its ending, by which it is calibrated.

    Attributes:
        normal: of normal images.
        strange: of images unlike any normal one.
        outliers: of images that it should flag; None where there are none.
    """

    normal: Tensor
    strange: Tensor
    outliers: Tensor | None = None


class AdaptedDetector(nn.Module):
    """A user's model, its preprocessing and its calibration; meets the `Detector` protocol.

    The model computes in its own precision: autocast is switched off around it. It is given the
    images on its own device, where its weights are, or on the CPU if it shows none; what it returns
    is moved to where the images were.

    Attributes:
        model: the user's model, frozen.
        shape: (C, H, W) of the images it takes, float in [0, 1].
        preprocessing: what becomes of them before the model sees them.
        score_map: the model's own scores to log-odds.
        threshold: scores above it are flagged as anomalous.
        own_threshold: the same in the model's own units.
        is_calibrated: the score map was fitted to images, see `calibrated`.
        is_black_box: there is no gradient.
        higher_is: what a high score of the model's own means.
        facts: what is known about it; JSON-compatible.
    """

    def __init__(
        self,
        model: ScoreModel,
        shape: tuple[int, int, int],
        preprocessing: Preprocessing | None = None,
        score_map: ScoreMap | None = None,
        own_threshold: float | None = None,
    ) -> None:
        super().__init__()
        self.model, self.shape = model, shape
        self.preprocessing = preprocessing or Preprocessing()
        self.is_calibrated = score_map is not None
        self.score_map = score_map or ScoreMap(higher_is=model.higher_is)
        # Whether someone chose the threshold: the user, or the model itself.
        self.has_own_threshold = own_threshold is not None
        self.threshold, self.own_threshold = 0.5, float(self.own_units(torch.zeros(())))
        if own_threshold is not None:
            self.own_threshold = own_threshold
            raw = torch.tensor(model.ending.inverse(own_threshold), dtype=torch.float64)
            self.threshold = to_score(self.score_map(raw))
        self.checks: dict[str, Any] = {}
        if model.file is not None and "sha256" not in model.facts:
            from ifnormal.detectors.adapted.saving import hash_of

            model.facts["sha256"] = hash_of(model.file, model.more_files)
        self.freeze()

    @property
    def is_black_box(self) -> bool:
        """Whether the model only returns scores, without a gradient."""
        return self.model.black_box

    @property
    def higher_is(self) -> HigherIs:
        """What a high score of the model's own means."""
        return self.score_map.higher_is

    @property
    def facts(self) -> dict[str, Any]:
        """What is known about the detector, JSON-compatible."""
        return {
            "name": self.model.name,
            "spec": self.model.spec,
            "black_box": self.is_black_box,
            "preprocessing": asdict(self.preprocessing),
            "score_map": asdict(self.score_map),
            **self.model.facts,
            **self.checks,
        }

    def own(self, images: Tensor) -> Tensor:
        """Scores (N,) in the model's own units of (N, C, H, W) images in [0, 1]."""
        return self.model.ending(self._run(images)[0])

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrated log-odds (N,) and features (N, F), float32."""
        scores, features = self._run(images)
        return self.score_map(scores).float(), features

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1] of (N, C, H, W) images in [0, 1]."""
        return self.inspect(images)[0].sigmoid()

    def own_units(self, log_odds: Tensor) -> Tensor:
        """Calibrated log-odds, of any shape, back in the model's own units; float64."""
        return self.model.ending(self.score_map.inverse(log_odds))

    def freeze(self) -> AdaptedDetector:
        """Evaluation mode, no gradient to the weights; itself."""
        return self.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write `detector.json`, see `ifnormal.detectors.saving`; the model stays where it is."""
        from ifnormal.detectors.adapted.saving import save_adapted

        save_adapted(self, folder)

    def calibrated(
        self,
        normal: Tensor,
        outliers: Tensor | None = None,
        false_alarm_rate: float | None = None,
    ) -> AdaptedDetector:
        """The same model with its score map fitted and its threshold set.

        The threshold is the one that the user gave or that the model brought with it. Where there
        is none, or a false-alarm rate is asked for, it is the score that this share of the normal
        images exceeds (5 % by default).

        Args:
            normal: (N, C, H, W) uint8 normal images, best not those the model was trained on.
            outliers: (M, C, H, W) uint8 images that it should flag.
            false_alarm_rate: in (0, 1).

        Raises:
            UserError: the images are not of the detector's shape, or a score is not finite.
        """
        return self.calibrated_by(self.raw_scores(normal, outliers), false_alarm_rate)

    def raw_scores(self, normal: Tensor, outliers: Tensor | None = None) -> RawScores:
        """What `calibrated_by` takes, of images as `calibrated` takes them."""
        strange = in_batches(self._raw, _strange(normal))
        found = None if outliers is None or len(outliers) == 0 else self.raw(outliers)
        return RawScores(self.raw(normal), strange, found)

    def calibrated_by(
        self, scores: RawScores, false_alarm_rate: float | None = None
    ) -> AdaptedDetector:
        """As `calibrated`, by scores that are known already: the model is not asked again."""
        everything = [scores.normal, scores.strange]
        if scores.outliers is not None:
            everything.append(scores.outliers)
        map_ = fit_score_map(
            scores.normal,
            scores.outliers,
            self.higher_is,
            look_like_probabilities(torch.cat(everything)),
        )
        if self.has_own_threshold and false_alarm_rate is None:
            own_threshold = self.own_threshold
        else:
            rate = _FALSE_ALARM_RATE if false_alarm_rate is None else false_alarm_rate
            at = threshold_at(map_(scores.normal.double()), rate)
            own_threshold = float(self.model.ending(map_.inverse(torch.tensor(at).double())))
        detector = AdaptedDetector(self.model, self.shape, self.preprocessing, map_, own_threshold)
        detector.has_own_threshold = self.has_own_threshold and false_alarm_rate is None
        detector.checks = dict(self.checks)
        return detector

    def at(self, shape: tuple[int, int, int]) -> AdaptedDetector:
        """The same detector for images of another (C, H, W)."""
        shape, steps = _fit_together(self.model, shape, self.preprocessing)
        own_threshold = self.own_threshold if self.has_own_threshold else None
        map_ = self.score_map if self.is_calibrated else None
        detector = AdaptedDetector(self.model, shape, steps, map_, own_threshold)
        detector.checks = dict(self.checks)
        return detector

    def raw(self, images: Tensor) -> Tensor:
        """Scores (N,) before the model's ending, on the CPU, of (N, C, H, W) uint8 images.

        Raises:
            UserError: one is not finite.
        """
        return in_batches(self._finite, images)

    def _raw(self, images: Tensor) -> Tensor:
        """Scores (N,) before the model's ending."""
        return self._run(images)[0]

    def _run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N,) before the model's ending, and float32 features (N, F)."""
        if torch.is_grad_enabled() and not self.is_black_box:
            return self._part(images)
        with torch.no_grad():
            size = torch.Size(output_size(self.shape, self.preprocessing)).numel()
            parts = [self._part(part) for part in images.split(max(1, _NUMBERS // size))]
        return torch.cat([scores for scores, _ in parts]), torch.cat([found for _, found in parts])

    def _part(self, images: Tensor) -> tuple[Tensor, Tensor]:
        given = images.to(device_of(self))
        scores, features = self.model(preprocess(given, self.preprocessing))
        if features is None:
            features = described(images.float())
        return scores.to(images.device), features.float().to(images.device)

    def _finite(self, images: Tensor) -> Tensor:
        scores = self._raw(images)
        if not bool(torch.isfinite(scores).all()):
            raise UserError(
                f"The detector gives {int((~torch.isfinite(scores)).sum())} of {len(scores)} "
                "images scores that are NaN or infinite; check its preprocessing."
            )
        return scores


def adapt(
    model: Any,
    *,
    shape: tuple[int, int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    features: Features | None = None,
    black_box: bool | None = None,
    threshold_own: float | None = None,
    higher_is: HigherIs | None = None,
) -> AdaptedDetector:
    """Make any model a detector; not calibrated yet, see `AdaptedDetector.calibrated`.

    The model itself is used, not a copy: it is set to evaluation mode and its weights are frozen.

    Args:
        model: a torch module, a function of images, an estimator, or what an adapter made of one.
        shape: (C, H, W) of the images to be edited; by default what the model takes.
        preprocessing: what becomes of them before the model sees them.
        features: a function of the preprocessed images, or the name of a submodule whose input are
            the features that concepts are told apart by; found by itself if there is a network.
        black_box: explain it without its gradient.
        threshold_own: the decision threshold, in the model's own units.
        higher_is: what a high score of the model means; by default what its kind is known for.

    Raises:
        UserError: no adapter takes it, or its shape has to be given.
    """
    if not isinstance(model, ScoreModel):
        model = adapter_of(model).wrap(model, AdapterOptions(True, black_box, features))
        model.features = named(features)
    if higher_is is not None:
        model.higher_is = higher_is
    threshold = model.threshold if threshold_own is None else threshold_own
    shape, preprocessing = _fit_together(model, shape, preprocessing or Preprocessing())
    return AdaptedDetector(model, shape, preprocessing, own_threshold=threshold)


def _fit_together(
    model: ScoreModel, shape: tuple[int, int, int] | None, steps: Preprocessing
) -> tuple[tuple[int, int, int], Preprocessing]:
    """The images' shape and the preprocessing, each filled in from the model where not given."""
    channels, height, width = model.input_shape
    if shape is None:
        sides = (height, width) if height and width else steps.crop or steps.size
        if sides is None:
            raise UserError(
                f"The {model.name} takes images of any size; say at which (C, H, W) they are to be "
                "edited: shape=(3, 64, 64)."
            )
        # The generator edits images whose sides are multiples of 4.
        rounded = [max(4, round(side / 4) * 4) for side in sides]
        shape = (channels or steps.channels or 3, rounded[0], rounded[1])
    if steps.channels is None and channels is not None and channels != shape[0]:
        steps = replace(steps, channels=1 if channels == 1 else 3)
    if height and width and output_size(shape, steps)[1:] != (height, width):
        if steps.crop is not None or steps.size is not None:
            raise UserError(
                f"The {model.name} takes {height}x{width} images, the preprocessing makes "
                f"{'x'.join(map(str, output_size(shape, steps)[1:]))} ones; correct size or crop."
            )
        steps = replace(steps, size=(height, width))
    return shape, steps


def _strange(normal: Tensor) -> Tensor:
    """A few images unlike any normal one: noise, the inverse, black, white."""
    some = normal[:8]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, some.shape, generator=generator, dtype=torch.uint8)
    plain = torch.stack([torch.zeros_like(some[0]), torch.full_like(some[0], 255)])
    return torch.cat([noise, 255 - some, plain])


__all__ = ["AdaptedDetector", "RawScores", "ScoreModel", "adapt"]
