"""Explainer: fit, explain, save, load. The front door of the library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from ifnormal.common.errors import UserError, one_line
from ifnormal.common.pixels import to_float
from ifnormal.common.storage import load_tensors, save_tensors
from ifnormal.config import FitConfig
from ifnormal.config.editors import EDITORS
from ifnormal.data.files.image_input import ImageInput
from ifnormal.detectors.black_box.surrogate import Surrogate
from ifnormal.detectors.detector import (
    Detector,
    batch_size_for,
    device_of,
)
from ifnormal.detectors.duck_typed import checked_detector
from ifnormal.detectors.loading import saved_detector
from ifnormal.explainers.editor import Editor, saved_class
from ifnormal.explainers.fit_data import fit_data_of
from ifnormal.explainers.model_card import model_card
from ifnormal.explainers.outlier_quality import rated
from ifnormal.explainers.pixel_editor import PixelEditor
from ifnormal.explainers.scored_edits import ScoredEdits, anomalies_of, explanation_of
from ifnormal.explainers.sharing import fetch_explainer, publish_explainer
from ifnormal.explanation.explanation import Explanation
from ifnormal.training.networks.generator import Generator

_VERSION = 1


class Explainer:
    """Explains why a detector flags an image: how it would look if it were normal.

    Args:
        detector: what is to be explained: a `Detector`, or a torch module, a function from image
            tensors to scores, an estimator of scikit-learn or PyOD, or the SPEC of a model file;
            `ifnormal.adapt` gives more say over the last ones.
        config: how the generator of the paper is trained; by default the recommended settings.
        editor: another way of making counterfactuals, in place of that generator.

    Attributes:
        editor: what makes the edits.
        facts: what came of the fit: seed, configuration, numbers; JSON-compatible.
        seed: of the fit.
    """

    def __init__(
        self, detector: Any, config: FitConfig | None = None, *, editor: Editor | None = None
    ) -> None:
        if config is not None and editor is not None:
            raise UserError("A FitConfig trains the pixel generator; leave it out for an editor.")
        self.editor = editor or PixelEditor(config)
        self._model = detector
        self._detector: Detector | None = checked_detector(detector)
        if self._detector is not None:
            self.editor.use(self._detector)
        self.seed = 0
        self.facts: dict[str, Any] = {}

    @property
    def detector(self) -> Detector:
        """What is explained; frozen and, once the explainer is fitted, calibrated.

        Raises:
            UserError: nothing was fitted yet, and the size of the images is not known before.
        """
        if self._detector is None:
            raise UserError("The explainer is not fitted; call fit or load one first.")
        return self._detector

    @property
    def concepts(self) -> int:
        """K, in how many different ways each anomaly is edited."""
        return self.editor.concepts

    @property
    def config(self) -> Any:
        """How the editor edits: a `FitConfig`, or the configuration of another editor."""
        return self.editor.config

    @property
    def images_per_second(self) -> float:
        """Input images a second of the last fit, each edited in every concept."""
        return self.editor.images_per_second

    @property
    def surrogate(self) -> Surrogate | None:
        """The network that stands in for a black box, if there is one."""
        return self.editor.surrogate

    @property
    def generator(self) -> Generator:
        """The trained generator G of the pixel editor.

        Raises:
            UserError: nothing is fitted, or another editor makes the edits.
        """
        if not isinstance(self.editor, PixelEditor):
            raise UserError(
                f"The explainer edits by {self.editor.name} and has no generator of its own; fit "
                "one with the generator pixel."
            )
        return self.editor.generator

    def cost(self) -> str:
        """What an image costs, in a few sentences; "" where it is next to nothing."""
        return self.editor.cost

    def fit(
        self,
        normal: ImageInput,
        outliers: ImageInput | None = None,
        seed: int = 0,
        folder: Path | None = None,
        resume: bool = False,
        false_alarm_rate: float | None = None,
    ) -> Self:
        """Prepare the detector, then fit the editor to it; see `Editor.fit`.

        A detector of the user's own is checked and calibrated first; see `explainers.fit_data`.

        Args:
            normal: normal images: a folder, files, arrays or tensors; see `as_images`.
            outliers: images that the detector flags, such as outlier exposure, but not those to be
                explained. None makes synthetic ones from the normal images.
            seed: makes the run repeatable.
            folder: losses and checkpoints go here.
            resume: go on from the checkpoint in `folder`.
            false_alarm_rate: share of held-out normal images that may be flagged; None leaves a
                threshold that the detector brings, else takes 5 %.

        Returns:
            Itself.

        Raises:
            UserError: the images cannot be used, the detector breaks its contract or flags none of
                the outliers.
        """
        prepared = fit_data_of(self._model, normal, outliers, seed, false_alarm_rate)
        prepared = rated(prepared, self.editor.outlier_quality)
        self._detector, self.seed = prepared.detector, seed
        self.editor.fit(prepared, seed, folder, resume)
        names = list(self.editor.concept_names)
        named = {"concept_names": names} if names else {}
        self.facts = {"seed": seed, **self.editor.facts, **named, **prepared.facts}
        return self

    @torch.inference_mode()
    def edit(self, images: Tensor, target: float | Tensor, concept: int) -> Tensor:
        """G(x, α, k): edit images so that the detector scores them `target`.

        Args:
            images: (N, C, H, W) float in [0, 1].
            target: α in [0, 1], for all or (N,) for each; 0 is normal.
            concept: k in 0..K-1.

        Returns:
            (N, C, H, W) float32 in [0, 1], on the device of `images`.
        """
        return self.editor.edit(images, target, concept)

    def explain(
        self,
        anomalies: ImageInput,
        names: Sequence[str] | None = None,
        traversals: int = 24,
        traversal_steps: int = 9,
    ) -> Explanation:
        """The counterfactuals {G(x*, 0, k)} of N anomalies, with what the detector says of them.

        Args:
            anomalies: N images: files, arrays or tensors; see `as_images`.
            names: N names; by default their paths or numbers.
            traversals: for how many anomalies to follow α from their score down to 0.
            traversal_steps: frames of a traversal.

        Raises:
            UserError: there are no images, or not of the detector's shape.
        """
        images, names = anomalies_of(anomalies, names, self.detector.shape)
        self.editor.require_fitted()
        shares = torch.linspace(1, 0, traversal_steps)
        before, features = self._inspect(images)
        edits, frames = self.editor.counterfactuals(
            to_float(images), before[:traversals].sigmoid(), shares
        )
        after, features_after = self._inspect(edits)
        along, _ = self._inspect(frames)
        probabilities = self.editor.concept_probabilities(images, edits, features, features_after)
        return explanation_of(
            self.detector,
            ScoredEdits(images, edits, frames, shares, before, after, along, probabilities),
            names,
            self.facts,
            self.surrogate,
        )

    def assess(self, anomalies: Tensor, edits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N, K) of uint8 edits (N, K, C, H, W), and concept probabilities (N, K, K)."""
        features, (odds, after) = self._inspect(anomalies)[1], self._inspect(edits)
        return odds, self.editor.concept_probabilities(anomalies, edits, features, after)

    def tensors(self) -> dict[str, Tensor]:
        """All weights that were trained for the explanations, by name."""
        return self.editor.tensors()

    def save(self, folder: Path | str) -> None:
        """Write `explainer.json`, the weights of the editor, and `detector/`.

        The detector is saved as far as it can be: a built-in one whole, a model file by its path
        and checksum, an object of yours only by its calibration.
        """
        folder = Path(folder)
        facts = {
            "format": EDITORS[self.editor.name].format,
            "version": _VERSION,
            "shape": self.detector.shape,
            "seed": self.seed,
            **self.editor.settings(),
            "facts": self.facts,
        }
        tensors = self.tensors()
        # The explainer last: where it is, everything is.
        self.detector.save(folder / "detector")
        save_tensors(folder, "explainer", tensors, facts)

    @classmethod
    def load(cls, folder: Path | str, detector: Any = None, trust: bool = False) -> Self:
        """Read what `save` wrote.

        Args:
            folder: of the explainer.
            detector: the one it was fitted to, or the model or SPEC behind it; None finds it by
                what `folder/detector` says.
            trust: run code that a detector of a file contains; see `load_detector`.

        Raises:
            UserError: a file is missing or damaged, or the detector takes other images.
        """
        folder = Path(folder)
        tensors, saved = load_tensors(folder, "explainer")
        path = folder / "explainer.json"
        kind = saved_class(saved)
        if kind is None or saved.get("version") != _VERSION:
            raise UserError(
                f"{path} is not an explainer of format {_VERSION}; fit it again with this version "
                "of ifnormal."
            )
        found = saved_detector(folder / "detector", detector, trust)
        try:
            if tuple(saved["shape"]) != tuple(found.shape):
                raise UserError(
                    f"The explainer in {folder} edits {saved['shape']} images, the detector takes "
                    f"{list(found.shape)}; load the detector it was fitted to."
                )
            explainer = cls.__new__(cls)
            Explainer.__init__(explainer, found, editor=kind.load(saved, tensors, found))
            explainer.seed, explainer.facts = saved["seed"], saved.get("facts", {})
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{path} and its weights do not fit together ({one_line(error)}); restore the "
                "folder or fit again."
            ) from None
        return explainer

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        detector: Any = None,
        *,
        trust: bool = False,
        revision: str | None = None,
        token: str | None = None,
    ) -> Self:
        """Load an explainer from a folder, or from the hub where there is no such folder.

        Args:
            name_or_folder: a folder that `save` wrote, or `owner/name` on the Hugging Face hub.
            detector: see `load`.
            trust: see `load`.
            revision: a branch, tag or commit on the hub.
            token: for private models; by default the one of `hf auth login`.

        Raises:
            UserError: it is not there, may not be read, or cannot be reached.
        """
        return cls.load(fetch_explainer(name_or_folder, revision, token), detector, trust=trust)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        message: str = "Upload an explainer",
        token: str | None = None,
    ) -> str:
        """Publish on the Hugging Face hub, with a model card; returns the address of the commit.

        Args:
            repo_id: `owner/name`; made if it is not there yet.
            private: whether a repository that is made now can be seen by its owner alone.
            revision: the branch to commit to; by default the main one.
            message: of the commit.
            token: by default the one of `hf auth login`.

        Raises:
            UserError: the explainer is not fitted, or the hub cannot be reached or refuses.
        """
        self.editor.require_fitted()
        self.editor.require_shareable()
        return publish_explainer(
            self.save, self.model_card(repo_id), repo_id, private, revision, message, token
        )

    def model_card(self, repo_id: str) -> str:
        """What the hub shows of it as `repo_id`: Markdown with a table of facts."""
        detector = self.detector
        channels, height, width = detector.shape
        known = {
            "Images": f"{height} x {width} pixels, {channels} channel{'s' if channels > 1 else ''}",
            "Detector": detector.facts.get("name", type(detector).__name__),
            "Decision threshold": f"{detector.own_threshold:.6g}, higher is {detector.higher_is}",
            "Concepts": self.concepts,
        }
        return model_card(repo_id, {**known, **self.editor.card})

    @torch.inference_mode()
    def _inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (...) and features (..., F) of (..., C, H, W) uint8 images, on the CPU."""
        flat, device = images.flatten(0, -4), device_of(self.detector)
        odds, features = [torch.zeros(0)], [torch.zeros(0, 0)]
        for part in flat.split(batch_size_for(flat)) if len(flat) else ():
            floats = to_float(part).to(device)
            log_odds, feature = self.detector.inspect(floats)
            if self.surrogate is not None:
                feature = self.surrogate.inspect(floats.cpu())[1]
            odds.append(log_odds.float().cpu())
            features.append(feature.float().cpu())
        outer = images.shape[:-3]
        read = torch.cat(features[1:]) if len(flat) else features[0]
        return torch.cat(odds).view(outer), read.view(*outer, read.shape[1])
