"""PixelEditor: the generator G of the paper, trained against one detector."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.common.checkpoint import module_tensors, restore_modules, tensors_below
from ifnormal.common.compute import channels_last, has_fast_bfloat16, make_fabric
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.config import DiffusionConfig, FitConfig, adapted_to, fit_config
from ifnormal.config.editors import EditorConfig
from ifnormal.config.fit import OutlierRating
from ifnormal.config.improvement import RefineConfig
from ifnormal.detectors.black_box.surrogate import Surrogate
from ifnormal.detectors.detector import Detector, device_of, move_to
from ifnormal.explainers.editor import Editor
from ifnormal.explainers.fit_data import FitData
from ifnormal.explainers.refine import Refined, refine
from ifnormal.training.fit import fit
from ifnormal.training.networks.concept_classifier import (
    ConceptClassifier,
    FeatureConceptClassifier,
    PixelConceptClassifier,
)
from ifnormal.training.networks.generator import Generator
from ifnormal.training.state import unwrapped

_BATCH = 128


class PixelEditor(Editor):
    """Edits pixels by a generator G(x, α, k) that is trained for the detector; section 3.

    Args:
        config: how it is trained; `fit` adapts it to large images, see `adapted_to`.
    """

    name = "pixel"
    checkpoints = ("checkpoint",)
    learns = True

    def __init__(self, config: FitConfig | None = None) -> None:
        self._asked = self.config = config or FitConfig()
        self._surrogate_report: Mapping[str, Any] | None = None
        self._generator: Generator | None = None
        self._fast: Generator | None = None
        self._classifier: ConceptClassifier | None = None
        self._fabric = make_fabric(self.config.precision)

    @classmethod
    def create(
        cls, choice: EditorConfig, fit: FitConfig, diffusion: DiffusionConfig
    ) -> PixelEditor:
        """An editor that `fit` describes."""
        return cls(fit)

    @property
    def outlier_quality(self) -> OutlierRating:
        """As configured."""
        return self._asked.outlier_quality

    @property
    def concepts(self) -> int:
        """K."""
        return int(self.config.concepts)

    @property
    def generator(self) -> Generator:
        """The trained generator G; it raises a UserError where nothing is fitted."""
        return self._trained()[0]

    def require_fitted(self) -> None:
        """Raise a UserError where the generator is not trained."""
        self._trained()

    def fit(
        self, prepared: FitData, seed: int, folder: Path | None = None, resume: bool = False
    ) -> None:
        """Train the generator; see `ifnormal.training.fit.fit`."""
        detector = prepared.detector
        self.use(detector)
        self.config = adapted_to(self._asked, max(detector.shape[1:]))
        device = device_of(detector)
        state = fit(
            detector,
            prepared.normal,
            prepared.outliers,
            self.config,
            seed,
            folder,
            resume,
            sources=prepared.sources,
            weights=prepared.weights,
        )
        move_to(detector, device)
        self.seed, self.images_per_second = seed, state.images_per_second
        self.surrogate = None if state.surrogate is None else state.surrogate.cpu()
        self._surrogate_report = state.surrogate_report
        self._generator, self._fast = state.averaged.eval(), None
        # The generator stays where it is fast; the classifier reads what is on the CPU.
        self._classifier = unwrapped(state.classifier).cpu().eval().requires_grad_(False)

    @torch.inference_mode()
    def edit(self, images: Tensor, target: float | Tensor, concept: int) -> Tensor:
        """G(x, α, k); see `Editor.edit`."""
        generator, device = self._fast_generator(), self._fabric.device
        if len(images) == 0:
            return images.clone()
        wanted = torch.as_tensor(target, dtype=torch.float32).expand(len(images))
        parts = []
        for part, targets in zip(images.split(_BATCH), wanted.split(_BATCH), strict=True):
            concepts = torch.full((len(part),), concept, device=device)
            edited, _ = generator(channels_last(part.to(device)), targets.to(device), concepts)
            parts.append(edited.float().to(images.device))
        return torch.cat(parts)

    @torch.no_grad()
    def edit_each(self, images: Tensor, concepts: Tensor) -> Tensor:
        """G(x, 0, k) of each image's own concept, in one batch and in full precision."""
        generator, device = self.generator, self._fabric.device
        target = torch.zeros(len(images), device=device)
        edited, _ = generator(channels_last(images.to(device)), target, concepts.to(device))
        return edited.to(images.device)

    @torch.inference_mode()
    def concept_probabilities(
        self, anomalies: Tensor, edits: Tensor, features: Tensor, features_after: Tensor
    ) -> Tensor:
        """What R says of every pair (anomaly, counterfactual): (N, K, K)."""
        classifier = self._trained()[1]
        in_pixels = not isinstance(classifier, FeatureConceptClassifier)
        before = to_float(anomalies) if in_pixels else features
        after = to_float(edits) if in_pixels else features_after
        logits = [classifier(before, after[:, k]) for k in range(edits.shape[1])]
        return torch.stack(logits, 1).float().softmax(2)

    def refine(self, anomalies: Tensor, edits: Tensor, config: RefineConfig) -> Refined:
        """A few gradient steps on the steering of the generator; see `explainers.refine`."""
        guide = self.surrogate if self.detector.is_black_box else None
        return refine(self.generator, self.detector, anomalies, edits, config, guide)

    @property
    def facts(self) -> dict[str, Any]:
        """The configuration of the fit, and how faithful the surrogate is where there is one."""
        report = self._surrogate_report
        return {"fit": asdict(self.config), **({} if report is None else {"surrogate": report})}

    @property
    def card(self) -> dict[str, Any]:
        """Its training and its size."""
        config, generator = self.config, asdict(self.config.generator)
        return {
            "Training": f"{config.steps} steps of {config.batch_size} images, seed {self.seed}",
            "Generator": ", ".join(f"{name} {value}" for name, value in generator.items()),
            "Parameters": f"{sum(p.numel() for p in self.generator.parameters()):,}",
        }

    def settings(self) -> dict[str, Any]:
        """The configuration."""
        return {"config": asdict(self.config)}

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the generator, of the concept classifier and of the surrogate."""
        generator, classifier = self._trained()
        networks: dict[str, nn.Module] = {"generator": generator, "classifier": classifier}
        if self.surrogate is not None:
            networks["surrogate"] = self.surrogate
        return module_tensors(networks)

    @classmethod
    def load(
        cls, saved: Mapping[str, Any], tensors: Mapping[str, Tensor], detector: Detector
    ) -> PixelEditor:
        """See `Editor.load`."""
        editor = cls(fit_config(saved["config"]))
        editor.seed = saved["seed"]
        editor._surrogate_report = saved.get("facts", {}).get("surrogate")
        editor.use(detector)
        channels, config = detector.shape[0], editor.config
        size = detector.shape[1:]
        generator = Generator(channels, config.concepts, config.generator, max(size), size)
        weights = tensors_below("classifier/", tensors)
        classifier: ConceptClassifier
        if config.concept_space == "pixels":
            classifier = PixelConceptClassifier(channels, config.concepts, config.concept_noise)
        else:
            classifier = FeatureConceptClassifier(
                weights["mean"], weights["deviation"], config.concepts, config.concept_noise
            )
        networks: dict[str, nn.Module] = {"generator": generator, "classifier": classifier}
        if tensors_below("surrogate/", tensors):
            width, threshold = config.surrogate.width, float(detector.threshold)
            editor.surrogate = Surrogate.create(detector.shape, width, threshold)
            networks["surrogate"] = editor.surrogate
        restore_modules(networks, tensors)
        device = editor._fabric.device
        editor._generator = generator.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        editor._classifier = classifier.eval().requires_grad_(False)
        return editor

    def _trained(self) -> tuple[Generator, ConceptClassifier]:
        if self._generator is None or self._classifier is None:
            raise UserError("The explainer is not fitted; call fit or load one first.")
        return self._generator, self._classifier

    def _fast_generator(self) -> Generator:
        """The generator as it edits: in bfloat16 where that is fast, converted once."""
        generator = self._trained()[0]
        if self._fast is None:
            precision = self.config.precision
            half = has_fast_bfloat16() if precision == "auto" else precision == "bf16-mixed"
            self._fast = deepcopy(generator).bfloat16() if half else generator
        return self._fast
