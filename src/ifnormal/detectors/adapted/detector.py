"""AdaptedDetector: a user's own model as a detector that can be explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError
from ifnormal.common.storage import write_json
from ifnormal.config import Preprocessing
from ifnormal.detectors.adapted.adapters import AdapterOptions, Features, adapter_of, features_name
from ifnormal.detectors.adapted.adapters.features import image_statistics
from ifnormal.detectors.adapted.image_shape import fit_together
from ifnormal.detectors.adapted.preprocessing import output_size, preprocess
from ifnormal.detectors.adapted.score_map import (
    ScoreMap,
    fit_score_map,
    look_like_probabilities,
    to_score,
)
from ifnormal.detectors.adapted.score_model import ScoreModel
from ifnormal.detectors.builtin.calibration import threshold_at
from ifnormal.detectors.detector import Detector, device_of, in_batches
from ifnormal.explanation.entries import HigherIs

FORMAT, VERSION = "ifnormal.adapted-detector", 1

# How many numbers go through a model at once where no gradient is asked for.
_NUMBERS = 2**22
_FALSE_ALARM_RATE = 0.05


@dataclass(frozen=True)
class RawScores:
    """Scores (N,) of a model before its output activation, by which it is calibrated.

    Attributes:
        normal: of normal images.
        out_of_distribution: of images unlike any normal one.
        outliers: of images that it should flag; None where there are none.
    """

    normal: Tensor
    out_of_distribution: Tensor
    outliers: Tensor | None = None


class AdaptedDetector(nn.Module, Detector):
    """A user's model with its preprocessing and its calibration, as a detector.

    It is a value: its attributes do not change, and `replace` makes another that shares the model.

    The model computes in its own precision: autocast is switched off around it. It is given the
    images on its own device, where its weights are, or on the CPU if it shows none; what it returns
    is moved to where the images were.

    Args:
        model: the user's model; its weights are frozen.
        shape: (C, H, W) of the images it takes, float in [0, 1].
        preprocessing: what becomes of them before the model sees them.
        score_map: the model's own scores to log-odds; None where it is not calibrated yet.
        own_threshold: the decision threshold in the model's own units; None where it is not known.
        has_own_threshold: the user or the model chose the threshold, so that calibration keeps it;
            by default wherever it is known.
        higher_is: what a high score of the model means; by default what the model says.
        checks: numbers of the checks that it has passed, by name; JSON-compatible.

    Attributes:
        threshold: in [0, 1]; images with a higher score are flagged as anomalous.
        is_calibrated: the score map was fitted to images, see `calibrated`.
    """

    def __init__(
        self,
        model: ScoreModel,
        shape: tuple[int, int, int],
        preprocessing: Preprocessing | None = None,
        score_map: ScoreMap | None = None,
        own_threshold: float | None = None,
        *,
        has_own_threshold: bool | None = None,
        higher_is: HigherIs | None = None,
        checks: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._arguments = {
            "model": model,
            "shape": shape,
            "preprocessing": preprocessing,
            "score_map": score_map,
            "own_threshold": own_threshold,
            "has_own_threshold": has_own_threshold,
            "higher_is": higher_is,
            "checks": checks,
        }
        self.model, self.shape = model, shape
        self.preprocessing = preprocessing or Preprocessing()
        self.is_calibrated, self.is_black_box = score_map is not None, model.black_box
        self.score_map = score_map or ScoreMap(higher_is=higher_is or model.higher_is)
        self.higher_is = self.score_map.higher_is
        is_known = own_threshold is not None
        self.has_own_threshold = is_known if has_own_threshold is None else has_own_threshold
        if own_threshold is None:
            self.threshold = 0.5
            self._own_threshold = float(self.own_units(torch.zeros(())))
        else:
            raw = torch.tensor(model.activation.inverse(own_threshold), dtype=torch.float64)
            self.threshold, self._own_threshold = to_score(self.score_map(raw)), own_threshold
        self.checks = dict(checks or {})
        self.facts = {
            "name": model.name,
            "spec": model.spec,
            "black_box": model.black_box,
            "preprocessing": asdict(self.preprocessing),
            "score_map": asdict(self.score_map),
            **model.facts,
            **({} if model.sha256 is None else {"sha256": model.sha256}),
            **self.checks,
        }
        self.freeze()

    def __setattr__(self, name: str, value: Any) -> None:
        is_set = name in self.__dict__ or name in self.__dict__.get("_modules", ())
        if is_set and name != "training" and not name.startswith("_"):
            raise AttributeError(f"An adapted detector does not change; use replace({name}=...).")
        super().__setattr__(name, value)

    def replace(self, **changes: Any) -> AdaptedDetector:
        """Another detector of the same model, with some of the arguments changed."""
        return AdaptedDetector(**{**self._arguments, **changes})

    def with_checks(self, **checks: Any) -> AdaptedDetector:
        """The same detector with the numbers of further checks among its facts."""
        return self.replace(checks={**self.checks, **checks})

    @property
    def own_threshold(self) -> float:
        """The decision threshold in the model's own units."""
        return self._own_threshold

    def own(self, images: Tensor) -> Tensor:
        """Scores (N,) in the model's own units of (N, C, H, W) images in [0, 1]."""
        return self.model.activation(self._run(images)[0])

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrated log-odds (N,) and features (N, F), float32."""
        scores, features = self._run(images)
        return self.score_map(scores).float(), features

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1] of (N, C, H, W) images in [0, 1]."""
        return self.inspect(images)[0].sigmoid()

    def own_units(self, log_odds: Tensor) -> Tensor:
        """Calibrated log-odds, of any shape, back in the model's own units; float64."""
        return self.model.activation(self.score_map.inverse(log_odds))

    def freeze(self) -> AdaptedDetector:
        """Evaluation mode, no gradient to the weights; itself."""
        return self.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write `detector.json`: the SPEC, the hash of the model's file, and the calibration.

        The model itself stays where it is.
        """
        file = self.model.file
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "adapter": self.model.name,
            "spec": self.model.spec,
            "file": None if file is None else file.resolve().as_posix(),
            "more_files": self.model.more_files,
            "sha256": self.model.sha256,
            "black_box": self.is_black_box,
            "features": self.model.features,
            "higher_is": self.higher_is,
            "shape": self.shape,
            "preprocessing": asdict(self.preprocessing),
            "score_map": asdict(self.score_map) if self.is_calibrated else None,
            "own_threshold": self.own_threshold,
            "has_own_threshold": self.has_own_threshold,
            "checks": self.checks,
        }
        write_json(folder / "detector.json", facts)

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
        """The scores that `calibrated_by` takes, of the images that `calibrated` takes."""
        far = in_batches(self._raw, _out_of_distribution(normal))
        found = None if outliers is None or len(outliers) == 0 else self.raw(outliers)
        return RawScores(self.raw(normal), far, found)

    def calibrated_by(
        self, scores: RawScores, false_alarm_rate: float | None = None
    ) -> AdaptedDetector:
        """As `calibrated`, from scores of `raw_scores`, so that the model does not run again."""
        everything = [scores.normal, scores.out_of_distribution]
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
            own_threshold = float(self.model.activation(map_.inverse(torch.tensor(at).double())))
        return self.replace(
            score_map=map_,
            own_threshold=own_threshold,
            has_own_threshold=self.has_own_threshold and false_alarm_rate is None,
        )

    def at(self, shape: tuple[int, int, int]) -> AdaptedDetector:
        """The same detector for images of another (C, H, W)."""
        shape, preprocessing = fit_together(self.model, shape, self.preprocessing)
        return self.replace(shape=shape, preprocessing=preprocessing)

    def raw(self, images: Tensor) -> Tensor:
        """Scores (N,) before the output activation, on the CPU, of (N, C, H, W) uint8 images.

        Raises:
            UserError: one is not finite.
        """
        return in_batches(self._finite, images)

    def _raw(self, images: Tensor) -> Tensor:
        """Scores (N,) before the output activation, of (N, C, H, W) images in [0, 1]."""
        return self._run(images)[0]

    def _run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N,) before the output activation, and float32 features (N, F)."""
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
            features = image_statistics(images.float())
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
    """Make a detector of any model; `AdaptedDetector.calibrated` then calibrates it.

    The model itself is used, not a copy: it is set to evaluation mode and its weights are frozen.

    Args:
        model: a torch module, a function of images, an estimator, or what an adapter made of one.
        shape: (C, H, W) of the images to be edited; by default what the model takes.
        preprocessing: what becomes of them before the model sees them.
        features: a function of the preprocessed images, or the name of a submodule whose input are
            the features that concepts are told apart by; by default the last layer of a network.
        black_box: explain it without its gradient.
        threshold_own: the decision threshold, in the model's own units.
        higher_is: what a high score of the model means; by default what its kind is known for.

    Raises:
        UserError: no adapter takes it, or its shape has to be given.
    """
    if not isinstance(model, ScoreModel):
        model = adapter_of(model).wrap(model, AdapterOptions(True, black_box, features))
        model.features = features_name(features)
    threshold = model.threshold if threshold_own is None else threshold_own
    shape, preprocessing = fit_together(model, shape, preprocessing or Preprocessing())
    return AdaptedDetector(
        model, shape, preprocessing, own_threshold=threshold, higher_is=higher_is
    )


def _out_of_distribution(normal: Tensor) -> Tensor:
    """A few images unlike any normal one: noise, the inverse, black, white."""
    some = normal[:8]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, some.shape, generator=generator, dtype=torch.uint8)
    plain = torch.stack([torch.zeros_like(some[0]), torch.full_like(some[0], 255)])
    return torch.cat([noise, 255 - some, plain])
