"""ExemplarEditor: regions of an anomaly replaced by regions of real normal images.

Exemplar-based inpainting (Criminisi, Perez, Toyama 2004) and region replacement (Goyal et al.,
"Counterfactual Visual Explanations", ICML 2019), aimed by the detector. Nothing is trained.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize
from ifnormal.config import DiffusionConfig, FitConfig
from ifnormal.config.editors import EditorConfig
from ifnormal.config.exemplar import ExemplarConfig
from ifnormal.detectors.detector import Detector, device_of, log_odds_of
from ifnormal.explainers.editor import Editor
from ifnormal.explainers.exemplar.donors import Donor, Donors, as_image, as_picture
from ifnormal.explainers.exemplar.regions import smooth
from ifnormal.explainers.exemplar.registration import Picture
from ifnormal.explainers.exemplar.search import (
    Family,
    Goal,
    OutOfQueriesError,
    Replacement,
    apart_from,
    growth,
    smallest_replacement,
)
from ifnormal.explainers.fit_data import FitData

_REMEMBERED = 256  # images whose replacements are kept
_SMOOTH = 1 / 50  # of the side, the deviation of the blur of maps
_TYPICAL = 0.75  # the quantile of their scores
_SCORED = 512  # normal images that tell what is typical


class ExemplarEditor(Editor):
    """Replaces the smallest region that makes the detector score an image as it is asked to.

    Concept 0 is the least change. Further concepts are changes elsewhere that suffice by
    themselves; where there are none, they are the same as concept 0.
    """

    name = "exemplar"

    def __init__(self, config: ExemplarConfig | None = None) -> None:
        self.config: ExemplarConfig = config or ExemplarConfig()
        self._donors: Donors | None = None
        self._typical = 0.0
        self._known: OrderedDict[bytes, list[Replacement]] = OrderedDict()
        self.queries = 0

    @classmethod
    def create(
        cls, choice: EditorConfig, fit: FitConfig, diffusion: DiffusionConfig
    ) -> ExemplarEditor:
        """See `Editor.create`."""
        return cls()

    @property
    def concepts(self) -> int:
        """K."""
        return self.config.concepts

    def fit(
        self, prepared: FitData, seed: int, folder: Path | None = None, resume: bool = False
    ) -> None:
        """Build the index of donors, and find out which log-odds are typical of normal images."""
        self.use(prepared.detector)
        self.seed = seed
        config = self.config
        self._donors = Donors.choose(prepared.normal, config.registration, config.index, seed)
        scores = log_odds_of(prepared.detector, prepared.normal[:_SCORED])
        self._typical = float(scores.double().quantile(_TYPICAL))

    def require_fitted(self) -> None:
        """See `Editor.require_fitted`."""
        self._index()

    def edit(self, images: Tensor, target: float | Tensor, concept: int) -> Tensor:
        """See `Editor.edit`; images that score as wanted already come back as they are."""
        targets = torch.as_tensor(target, dtype=torch.float64).expand(len(images))
        edited = []
        for image, wanted in zip(quantize(images).cpu(), targets.tolist(), strict=True):
            found = self.replacements(image)[concept]
            (picture,) = self._along(as_picture(image), found, [wanted])
            edited.append(as_image(picture))
        return torch.stack(edited).to(images.device) if edited else images.clone()

    def counterfactuals(
        self, images: Tensor, scores: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Editor.counterfactuals`; one search an image."""
        edits, traversals = [], []
        for number, image in enumerate(quantize(images).cpu()):
            picture, found = as_picture(image), self.replacements(image)
            edits.append(torch.stack([_as_bytes(one.picture(picture)) for one in found]))
            if number < len(scores) and len(shares):
                targets = (shares.double() * float(scores[number])).tolist()
                frames = [self._along(picture, one, targets) for one in found]
                traversals.append(
                    torch.stack([torch.stack([_as_bytes(f) for f in way]) for way in frames])
                )
        empty = images.new_zeros((0, self.concepts, len(shares), *images.shape[1:]))
        if not len(shares):
            empty = images.new_zeros((len(scores), self.concepts, 0, *images.shape[1:]))
        along = torch.stack(traversals) if traversals else quantize(empty).cpu()
        return torch.stack(edits), along

    def replacements(self, image: Tensor) -> list[Replacement]:
        """K replacements of an image (C, H, W) uint8; the same one again for want of another."""
        key = image.contiguous().numpy().tobytes()
        if key not in self._known:
            self._known[key] = self._search(as_picture(image))
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return self._known[key]

    def _search(self, picture: Picture) -> list[Replacement]:
        donors = self._index().nearest(picture, self.config.donors)
        families = self._families(picture, donors)
        found: list[Replacement] = []
        goal = self._goal()
        for _ in range(self.concepts):
            left = apart_from(families, found) if found else families
            one = smallest_replacement(picture, left, self._scorer(), goal)
            if one is None or (found and one.log_odds > goal.threshold):
                break
            found.append(one)
        if not found:
            raise UserError("No part of an image could be replaced; allow more queries.")
        return found + [found[0]] * (self.concepts - len(found))

    def _families(self, picture: Picture, donors: Sequence[Donor]) -> list[Family]:
        """Every donor with every map that proposes where to begin."""
        shared = self._maps(picture)
        everywhere = np.ones(picture.shape[:2], np.float32)
        families = []
        for donor in donors:
            difference = donor.picture - picture
            proposals = [np.abs(difference).mean(2)]
            if "gradient" in shared:
                proposals.append(np.maximum(-(shared["gradient"] * difference).sum(2), 0))
            if "heatmap" in shared:
                proposals.append(shared["heatmap"][..., 0] * (0.05 + np.abs(difference).mean(2)))
            families += [Family(donor, smooth(p, _SMOOTH), everywhere) for p in proposals]
        return families

    def _maps(self, picture: Picture) -> dict[str, Picture]:
        """(H, W, C): the gradient and (H, W, 1): the heatmap of the detector, where it has any."""
        detector, found = self.detector, {}
        image = as_image(picture)[None].to(device_of(detector))
        if not detector.is_black_box:
            with torch.enable_grad():
                image = image.requires_grad_()
                (slope,) = torch.autograd.grad(detector.inspect(image)[0].sum(), image)
            found["gradient"] = slope[0].permute(1, 2, 0).float().cpu().numpy()
        if detector.heatmap is not None:
            with torch.no_grad():
                heat = detector.heatmap(image.detach())[0, ..., None]
            found["heatmap"] = heat.float().cpu().numpy()
        return found

    def _along(
        self, picture: Picture, found: Replacement, targets: Sequence[float]
    ) -> list[Picture]:
        """Pictures on the way to a replacement with scores of at most each target."""
        typical = self._goal().typical
        wanted = [None if _logit(target) <= typical else _logit(target) for target in targets]
        return growth(picture, found, self._scorer(), wanted)

    def _goal(self) -> Goal:
        threshold = _logit(self.detector.threshold)
        typical = min(self._typical, threshold)
        return Goal(typical if self.config.goal == "typical" else threshold, threshold)

    def _scorer(self) -> Any:
        left = self.config.queries

        def score(pictures: Sequence[Picture]) -> Any:
            nonlocal left
            if len(pictures) > left:
                raise OutOfQueriesError
            left -= len(pictures)
            self.queries += len(pictures)
            images = torch.stack([_as_bytes(picture) for picture in pictures])
            return log_odds_of(self.detector, images).double().numpy()

        return score

    def _index(self) -> Donors:
        if self._donors is None:
            raise UserError("The explainer is not fitted; call fit or load one first.")
        return self._donors

    def settings(self) -> dict[str, Any]:
        """The configuration, the registration that was chosen, and what is typical."""
        return {
            **super().settings(),
            "registration": self._index().how,
            "typical": self._typical,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The donors."""
        return {"donors": self._index().images}

    @classmethod
    def load(
        cls, saved: Mapping[str, Any], tensors: Mapping[str, Tensor], detector: Detector
    ) -> ExemplarEditor:
        """See `Editor.load`."""
        editor = cls(ExemplarConfig(**saved["config"]))
        editor.use(detector)
        editor.seed = saved["seed"]
        editor._donors = Donors(tensors["donors"], saved["registration"])
        editor._typical = float(saved["typical"])
        return editor


def _as_bytes(picture: Picture) -> Tensor:
    return quantize(as_image(picture))


def _logit(score: float) -> float:
    return float(torch.logit(torch.tensor(score, dtype=torch.float64), eps=1e-12))
