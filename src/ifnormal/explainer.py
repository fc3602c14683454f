"""Explainer: fit, explain, save, load. The front door of the library."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.compute import channels_last, has_fast_bfloat16, make_fabric
from ifnormal.config import FitConfig, fit_config
from ifnormal.detectors.detector import Detector, in_batches
from ifnormal.detectors.surrogate import Surrogate
from ifnormal.errors import UserError
from ifnormal.explanation import Explanation
from ifnormal.fit import fit
from ifnormal.generators.concept_classifier import (
    ConceptClassifier,
    FeatureConceptClassifier,
    PixelConceptClassifier,
)
from ifnormal.generators.pixel import Generator
from ifnormal.pixels import quantize, to_float
from ifnormal.storage import load_tensors, save_tensors
from ifnormal.training_state import unwrapped

_BATCH = 128


class Explainer:
    """Explains why a detector flags an image: how it would look if it were normal.

    Args:
        detector: what is to be explained; frozen.
        config: how the generator is trained; by default the one the project recommends.
    """

    def __init__(self, detector: Detector, config: FitConfig | None = None) -> None:
        self.detector, self.config = detector, config or FitConfig()
        self.seed, self.images_per_second = 0, 0.0
        self.surrogate: Surrogate | None = None  # of a black box, with its report
        self.surrogate_report: dict[str, Any] | None = None
        self._generator: Generator | None = None
        self._fast: Generator | None = None
        self._classifier: ConceptClassifier | None = None
        self._fabric = make_fabric(self.config.precision)

    def fit(
        self,
        normal: Tensor,
        outliers: Tensor,
        seed: int = 0,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Explainer:
        """Train the generator; see `ifnormal.fit.fit`. Returns itself."""
        state = fit(self.detector, normal, outliers, self.config, seed, folder, resume)
        self.seed, self.images_per_second = seed, state.images_per_second
        self._generator, self._fast = state.averaged.eval(), None
        # The generator stays where it is fast; detector and classifier read what is on the CPU.
        self._classifier = unwrapped(state.classifier).cpu().eval().requires_grad_(False)
        if isinstance(self.detector, nn.Module):
            self.detector.cpu()
        self.surrogate = None if state.surrogate is None else state.surrogate.cpu()
        self.surrogate_report = state.surrogate_report
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
        generator, device = self._editor(), self._fabric.device
        if len(images) == 0:
            return images.clone()
        wanted = torch.as_tensor(target, dtype=torch.float32).expand(len(images))
        parts = []
        for part, targets in zip(images.split(_BATCH), wanted.split(_BATCH), strict=True):
            concepts = torch.full((len(part),), concept, device=device)
            edited, _ = generator(channels_last(part.to(device)), targets.to(device), concepts)
            parts.append(edited.float().to(images.device))
        return torch.cat(parts)

    def explain(
        self,
        anomalies: Tensor,
        names: Sequence[str] | None = None,
        traversals: int = 24,
        traversal_steps: int = 9,
    ) -> Explanation:
        """The counterfactuals {G(x*, 0, k)} of N anomalies, with what the detector says of them.

        Args:
            anomalies: (N, C, H, W) uint8.
            names: N names; by default their numbers.
            traversals: for how many anomalies to follow α from their score down to 0.
            traversal_steps: images on such a way.

        Raises:
            UserError: there are no images, or not of the detector's shape.
        """
        if anomalies.ndim != 4 or len(anomalies) == 0 or anomalies.shape[1:] != self.detector.shape:
            raise UserError(
                f"The detector takes (N, {', '.join(map(str, self.detector.shape))}) images with "
                f"N >= 1, these are {tuple(anomalies.shape)}; resize or convert them."
            )
        floats, concepts = to_float(anomalies), range(self.config.concepts)
        edits = torch.stack([quantize(self.edit(floats, 0.0, k)) for k in concepts], 1)
        scores = in_batches(self.detector, anomalies)
        shares = torch.linspace(1, 0, traversal_steps)
        few, own = floats[:traversals], scores[:traversals]
        ways = [
            torch.stack([quantize(self.edit(few, share * own, k)) for share in shares], 1)
            for k in concepts
        ]
        followed = torch.stack(ways, 1)
        return Explanation(
            anomalies=anomalies,
            counterfactuals=edits,
            scores_before=scores,
            scores_after=self._scores(edits),
            concept_probabilities=self._concept_probabilities(anomalies, edits),
            threshold=self.detector.threshold,
            traversal_targets=shares,
            traversals=followed,
            traversal_scores=self._scores(followed),
            names=tuple(names) if names is not None else tuple(map(str, range(len(anomalies)))),
            facts={"seed": self.seed, "fit": asdict(self.config), **self._surrogate_facts()},
        )

    def save(self, folder: Path) -> None:
        """Write `explainer.json` and the weights of the generator and the concept classifier."""
        generator, classifier = self._trained()
        tensors = {f"generator/{k}": v for k, v in generator.state_dict().items()}
        tensors |= {f"classifier/{k}": v for k, v in classifier.state_dict().items()}
        facts = {
            "format": "ifnormal.explainer",
            "version": 1,
            "shape": self.detector.shape,
            "seed": self.seed,
            "config": asdict(self.config),
            **self._surrogate_facts(),
        }
        if self.surrogate is not None:
            tensors |= {f"surrogate/{k}": v for k, v in self.surrogate.state_dict().items()}
        save_tensors(folder, "explainer", tensors, facts)

    @classmethod
    def load(cls, folder: Path, detector: Detector) -> Explainer:
        """Read what `save` wrote, for the detector it was fitted to.

        Raises:
            UserError: a file is missing or damaged, or the detector takes other images.
        """
        tensors, facts = load_tensors(folder, "explainer")
        if facts.get("format") != "ifnormal.explainer" or facts.get("version") != 1:
            raise UserError(f"{folder}/explainer.json is not an explainer of format 1; fit again.")
        if tuple(facts["shape"]) != tuple(detector.shape):
            raise UserError(
                f"The explainer in {folder} edits {facts['shape']} images, the detector takes "
                f"{list(detector.shape)}; load the detector it was fitted to."
            )
        explainer = cls(detector, fit_config(facts["config"]))
        explainer.seed = facts["seed"]
        channels, config = detector.shape[0], explainer.config
        generator = Generator(channels, config.concepts, config.generator)
        generator.load_state_dict(_part(tensors, "generator/"))
        weights = _part(tensors, "classifier/")
        classifier: ConceptClassifier
        if config.concept_space == "pixels":
            classifier = PixelConceptClassifier(channels, config.concepts, config.concept_noise)
        else:
            classifier = FeatureConceptClassifier(
                weights["mean"], weights["deviation"], config.concepts, config.concept_noise
            )
        classifier.load_state_dict(weights)
        device = explainer._fabric.device
        explainer._generator = generator.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        explainer._classifier = classifier.eval().requires_grad_(False)
        if "surrogate" in facts:
            width, threshold = config.surrogate.width, float(detector.threshold)
            explainer.surrogate = Surrogate.create(detector.shape, width, threshold)
            explainer.surrogate.load_state_dict(_part(tensors, "surrogate/"))
            explainer.surrogate_report = facts["surrogate"]
        return explainer

    @property
    def generator(self) -> Generator:
        """The trained generator G; it raises a UserError where nothing is fitted."""
        return self._trained()[0]

    def _trained(self) -> tuple[Generator, ConceptClassifier]:
        if self._generator is None or self._classifier is None:
            raise UserError("The explainer is not fitted; call fit or load one first.")
        return self._generator, self._classifier

    def _editor(self) -> Generator:
        """The generator as it edits: in bfloat16 where that is fast, converted once."""
        generator = self._trained()[0]
        if self._fast is None:
            precision = self.config.precision
            half = has_fast_bfloat16() if precision == "auto" else precision == "bf16-mixed"
            self._fast = deepcopy(generator).bfloat16() if half else generator
        return self._fast

    def _surrogate_facts(self) -> dict[str, Any]:
        return {} if self.surrogate_report is None else {"surrogate": self.surrogate_report}

    def _scores(self, images: Tensor) -> Tensor:
        """Detector scores of (..., C, H, W) uint8 images, shape (...)."""
        if images.numel() == 0:
            return torch.zeros(images.shape[:-3])
        return in_batches(self.detector, images.flatten(0, -4)).view(images.shape[:-3])

    @torch.inference_mode()
    def _concept_probabilities(self, anomalies: Tensor, edits: Tensor) -> Tensor:
        """What R says of every pair (anomaly, counterfactual): (N, K, K)."""
        classifier = self._trained()[1]
        if isinstance(classifier, FeatureConceptClassifier):
            reader = self.detector if self.surrogate is None else self.surrogate
            anomalies = in_batches(lambda x: reader.inspect(x)[1], anomalies)
            flat = in_batches(lambda x: reader.inspect(x)[1], edits.flatten(0, 1))
            after = flat.view(*edits.shape[:2], -1)
        else:
            anomalies, after = to_float(anomalies), to_float(edits)
        logits = [classifier(anomalies, after[:, k]) for k in range(edits.shape[1])]
        return torch.stack(logits, 1).float().softmax(2)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
