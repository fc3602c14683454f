"""Editor: one way of making counterfactuals, and the registry of those there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize
from ifnormal.config.diffusion import DiffusionConfig
from ifnormal.config.editors import EDITORS, EditorConfig, require_refinement
from ifnormal.config.fit import FitConfig, OutlierRating
from ifnormal.config.improvement import RefineConfig
from ifnormal.detectors.black_box.surrogate import Surrogate
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.fit_data import FitData
from ifnormal.explainers.refine import Refined


class Editor(ABC):
    """One way of editing images so that a detector gives them the score α, in K concepts.

    An editor makes edits; `Explainer` does everything else: it prepares the detector, scores the
    images before and after, saves and loads. An editor is created from options (`create`) or by
    hand, fitted once (`fit`, which may train nothing), and then edits.

    Attributes:
        name: as in `--generator`, and in `config.editors.EDITORS`.
        checkpoints: names of the files, without ".json", that a fit which broke off goes on from.
        learns: whether `fit` trains on the outliers.
        config: how it edits; a dataclass.
        seed: of the fit.
        images_per_second: input images a second of the last fit, each edited in every concept; 0
            where nothing was trained.
        surrogate: the differentiable network that stands in for a black box, if there is one.
    """

    name: ClassVar[str]
    checkpoints: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[bool] = False

    config: Any
    seed: int = 0
    images_per_second: float = 0.0
    surrogate: Surrogate | None = None
    _detector: Detector | None = None

    @property
    def outlier_quality(self) -> OutlierRating:
        """Whether synthetic outliers are rated before the fit; see `FitConfig`."""
        return "off"

    @classmethod
    @abstractmethod
    def create(cls, choice: EditorConfig, fit: FitConfig, diffusion: DiffusionConfig) -> Editor:
        """An editor as the options describe it, not fitted yet.

        Raises:
            UserError: something that it needs is missing.
        """

    @property
    @abstractmethod
    def concepts(self) -> int:
        """K, in how many different ways each image is edited."""

    @property
    def concept_names(self) -> tuple[str, ...]:
        """K names of the concepts; () where they have none."""
        return ()

    @property
    def detector(self) -> Detector:
        """The detector that the edits are for.

        Raises:
            UserError: there is none before `fit` or `use`.
        """
        if self._detector is None:
            raise UserError("The explainer is not fitted; call fit or load one first.")
        return self._detector

    def use(self, detector: Detector) -> None:
        """Edit for this detector from now on."""
        self._detector = detector

    @abstractmethod
    def fit(
        self, prepared: FitData, seed: int, folder: Path | None = None, resume: bool = False
    ) -> None:
        """Learn what there is to learn of a detector and its training images.

        Args:
            prepared: the calibrated detector, normal images and outliers.
            seed: makes it repeatable.
            folder: losses and checkpoints go here.
            resume: go on from the checkpoint in `folder`.
        """

    @abstractmethod
    def require_fitted(self) -> None:
        """Raise a UserError where `fit` has to come before editing."""

    @abstractmethod
    def edit(self, images: Tensor, target: float | Tensor, concept: int) -> Tensor:
        """G(x, α, k): edit images so that the detector scores them α.

        Args:
            images: (N, C, H, W) float in [0, 1].
            target: α in [0, 1], for all or (N,) for each; 0 is normal.
            concept: k in 0..K-1.

        Returns:
            (N, C, H, W) float32 in [0, 1], on the device of `images`.
        """

    def edit_each(self, images: Tensor, concepts: Tensor) -> Tensor:
        """G(x, 0, k) of images (N, C, H, W) in [0, 1], each of its own concept (N,)."""
        edited = images.clone()
        for concept in concepts.unique().tolist():
            rows = concepts == concept
            edited[rows] = self.edit(images[rows], 0.0, concept)
        return edited

    def counterfactuals(
        self, images: Tensor, scores: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The counterfactuals G(x, 0, k) and the traversals towards them.

        Args:
            images: (N, C, H, W) float in [0, 1].
            scores: (M,) of the first M images, M <= N, which get traversals.
            shares: (T,) from 1 to 0: the targets of a traversal, as shares of the image's score.

        Returns:
            (N, K, C, H, W) and (M, K, T, C, H, W), uint8 on the CPU.
        """
        concepts = range(self.concepts)
        edits = torch.stack([quantize(self.edit(images, 0.0, k)) for k in concepts], 1)
        few = images[: len(scores)]
        traversals = [
            torch.stack([quantize(self.edit(few, share * scores, k)) for share in shares], 1)
            if len(shares)
            else edits.new_zeros(len(few), 0, *images.shape[1:])
            for k in concepts
        ]
        return edits.cpu(), torch.stack(traversals, 1).cpu()

    def concept_probabilities(
        self, anomalies: Tensor, edits: Tensor, features: Tensor, features_after: Tensor
    ) -> Tensor:
        """(N, K, K): for each edit, the probability of each concept; by default all the same.

        Args:
            anomalies: (N, C, H, W) uint8.
            edits: (N, K, C, H, W) uint8, of concept k in `[:, k]`.
            features: (N, F) of the anomalies, by the detector or its surrogate.
            features_after: (N, K, F) of the edits.
        """
        count, concepts = edits.shape[:2]
        return torch.full((count, concepts, concepts), 1 / concepts)

    def refine(self, anomalies: Tensor, edits: Tensor, config: RefineConfig) -> Refined:
        """Improve the edits (N, K, C, H, W) uint8 that the detector still flags.

        Raises:
            UserError: this editor has no way of doing so.
        """
        require_refinement(self.name)
        raise UserError(f"The generator {self.name} does not refine; leave refine out.")

    @property
    def cost(self) -> str:
        """What an image costs, in a few sentences for the user; "" where it is next to nothing."""
        return ""

    @property
    def facts(self) -> dict[str, Any]:
        """How it edits and what came of its fit; JSON-compatible."""
        return {"generator": self.name, self.name: asdict(self.config)}

    @property
    def card(self) -> dict[str, Any]:
        """What a model card says of it, a value a heading."""
        return {"Generator": self.name}

    def settings(self) -> dict[str, Any]:
        """What `explainer.json` keeps, apart from weights and facts, for `load` to read."""
        return {"method": self.name, "config": asdict(self.config)}

    def tensors(self) -> dict[str, Tensor]:
        """All weights that were trained for it, by name."""
        return {}

    @classmethod
    @abstractmethod
    def load(
        cls, saved: Mapping[str, Any], tensors: Mapping[str, Tensor], detector: Detector
    ) -> Editor:
        """The editor of `settings` and `tensors`, ready to edit.

        Args:
            saved: the content of `explainer.json`.
            tensors: its weights.
            detector: the detector that it was fitted to.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: they do not fit together.
        """

    def require_shareable(self) -> None:  # noqa: B027
        """Raise a UserError where it needs something that nobody else could load."""


def editor_class(name: str) -> type[Editor]:
    """The registered editor of this name."""
    module, _, attribute = EDITORS[name].home.partition(":")
    found: type[Editor] = getattr(import_module(f"ifnormal.explainers.{module}"), attribute)
    return found


def saved_class(saved: Mapping[str, Any]) -> type[Editor] | None:
    """The editor that an `explainer.json` was written by; None where no editor knows it."""
    kind, method = saved.get("format"), saved.get("method")
    for name, entry in EDITORS.items():
        if kind == entry.format and method in (name, None):
            return editor_class(name)
    return None


def make_editor(
    choice: EditorConfig, fit: FitConfig | None = None, diffusion: DiffusionConfig | None = None
) -> Editor:
    """The editor that the options choose, not fitted yet.

    Raises:
        UserError: something that it needs is missing.
    """
    choice.require_backbone()
    diffusion = (diffusion or DiffusionConfig()).for_prompts(choice.prompt)
    return editor_class(choice.generator).create(choice, fit or FitConfig(), diffusion)
