"""Explainer: fit, explain, save, load. The front door of the library."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.compute import channels_last, has_fast_bfloat16, make_fabric
from ifnormal.common.errors import UserError, one_line
from ifnormal.common.pixels import quantize, to_float
from ifnormal.common.storage import load_tensors, save_tensors
from ifnormal.config import FitConfig, adapted_to, fit_config
from ifnormal.data.files.image_input import ImageInput
from ifnormal.detectors.black_box.surrogate import Surrogate
from ifnormal.detectors.detector import (
    Detector,
    batch_size_for,
    device_of,
    move_to,
)
from ifnormal.detectors.duck_typed import checked_detector
from ifnormal.detectors.loading import saved_detector
from ifnormal.explainers.base import ScoredEdits, anomalies_of, explanation_of
from ifnormal.explainers.preparation import prepare_given
from ifnormal.explanation.explanation import Explanation
from ifnormal.training.fit import fit
from ifnormal.training.networks.concept_classifier import (
    ConceptClassifier,
    FeatureConceptClassifier,
    PixelConceptClassifier,
)
from ifnormal.training.networks.generator import Generator
from ifnormal.training.state import unwrapped

_BATCH = 128
_FORMAT, _VERSION = "ifnormal.explainer", 1


class Explainer:
    """Explains why a detector flags an image: how it would look if it were normal.

    Args:
        detector: what is to be explained: a `Detector`, or a torch module, a function from image
            tensors to scores, an estimator of scikit-learn or PyOD, or the SPEC of a model file;
            `ifnormal.adapt` gives more say over the last ones.
        config: how the generator is trained; by default the one the project recommends.

    Attributes:
        facts: what came of the fit: seed, configuration, numbers; JSON-compatible.
        surrogate: of a black box, from which its features come; `facts` says how faithful it is.
        images_per_second: input images a second of the last fit, each edited in every concept.
    """

    def __init__(self, detector: Any, config: FitConfig | None = None) -> None:
        self._model = detector
        self._detector: Detector | None = checked_detector(detector)
        self._asked = config or FitConfig()
        self.config = self._asked
        self.seed, self.images_per_second = 0, 0.0
        self.facts: dict[str, Any] = {}
        self.surrogate: Surrogate | None = None
        self._generator: Generator | None = None
        self._fast: Generator | None = None
        self._classifier: ConceptClassifier | None = None
        self._fabric = make_fabric(self.config.precision)

    @property
    def concepts(self) -> int:
        """K, in how many ways each anomaly is edited."""
        return self.config.concepts

    @property
    def detector(self) -> Detector:
        """What is explained; frozen and, once the explainer is fitted, calibrated.

        Raises:
            UserError: nothing was fitted yet, and the size of the images is not known before.
        """
        if self._detector is None:
            raise UserError("The explainer is not fitted; call fit or load one first.")
        return self._detector

    def fit(
        self,
        normal: ImageInput,
        outliers: ImageInput | None = None,
        seed: int = 0,
        folder: Path | None = None,
        resume: bool = False,
        false_alarm_rate: float | None = None,
    ) -> Explainer:
        """Train the generator; see `ifnormal.fit.fit`.

        A detector of the user's own is checked and calibrated first; see `ifnormal.preparation`.

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
        prepared = prepare_given(self._model, normal, outliers, seed, false_alarm_rate)
        self._detector = prepared.detector
        self.config = adapted_to(self._asked, max(self.detector.shape[1:]))
        device = device_of(self.detector)
        state = fit(
            self.detector,
            prepared.normal,
            prepared.outliers,
            self.config,
            seed,
            folder,
            resume,
            sources=prepared.sources,
        )
        move_to(self.detector, device)
        self.seed, self.images_per_second = seed, state.images_per_second
        self.facts = {"seed": seed, "fit": asdict(self.config), **prepared.facts}
        self.surrogate = None if state.surrogate is None else state.surrogate.cpu()
        if state.surrogate_report is not None:
            self.facts["surrogate"] = state.surrogate_report
        self._generator, self._fast = state.averaged.eval(), None
        # The generator stays where it is fast; the classifier reads what is on the CPU.
        self._classifier = unwrapped(state.classifier).cpu().eval().requires_grad_(False)
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
            traversal_steps: images on such a way.

        Raises:
            UserError: there are no images, or not of the detector's shape.
        """
        self._trained()
        images, names = anomalies_of(anomalies, names, self.detector.shape)
        floats, concepts = to_float(images), range(self.config.concepts)
        edits = torch.stack([quantize(self.edit(floats, 0.0, k)) for k in concepts], 1)
        before, features = self._inspect(images)
        after, features_after = self._inspect(edits)
        shares = torch.linspace(1, 0, traversal_steps)
        few, own = floats[:traversals], before[:traversals].sigmoid()
        ways = [
            torch.stack([quantize(self.edit(few, share * own, k)) for share in shares], 1)
            for k in concepts
        ]
        followed = torch.stack(ways, 1)
        along, _ = self._inspect(followed)
        probabilities = self._concept_probabilities(images, edits, features, features_after)
        return explanation_of(
            self.detector,
            ScoredEdits(images, edits, followed, shares, before, after, along, probabilities),
            names,
            self.facts,
            self.surrogate,
        )

    def assess(self, anomalies: Tensor, edits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N, K) of uint8 counterfactuals (N, K, C, H, W), and R's (N, K, K) words."""
        features, (odds, after) = self._inspect(anomalies)[1], self._inspect(edits)
        return odds, self._concept_probabilities(anomalies, edits, features, after)

    def save(self, folder: Path | str) -> None:
        """Write `explainer.json`, the weights of generator and concept classifier, `detector/`.

        The detector is saved as far as it can be: a built-in one whole, a model file by its path
        and checksum, an object of yours only by its calibration.
        """
        folder = Path(folder)
        # The explainer last: where it is, everything is.
        self.detector.save(folder / "detector")
        facts = {
            "format": _FORMAT,
            "version": _VERSION,
            "shape": self.detector.shape,
            "seed": self.seed,
            "config": asdict(self.config),
            "facts": self.facts,
        }
        save_tensors(folder, "explainer", self.tensors(), facts)

    def tensors(self) -> dict[str, Tensor]:
        """All trained weights, by name."""
        generator, classifier = self._trained()
        tensors = {f"generator/{k}": v for k, v in generator.state_dict().items()}
        tensors |= {f"classifier/{k}": v for k, v in classifier.state_dict().items()}
        if self.surrogate is not None:
            tensors |= {f"surrogate/{k}": v for k, v in self.surrogate.state_dict().items()}
        return tensors

    @classmethod
    def load(cls, folder: Path | str, detector: Any = None, trust: bool = False) -> Explainer:
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
        tensors, facts = load_tensors(folder, "explainer")
        path = folder / "explainer.json"
        if facts.get("format") != _FORMAT or facts.get("version") != _VERSION:
            raise UserError(
                f"{path} is not an explainer of format {_VERSION}; fit it again with this version "
                "of ifnormal."
            )
        detector = saved_detector(folder / "detector", detector, trust)
        try:
            if tuple(facts["shape"]) != tuple(detector.shape):
                raise UserError(
                    f"The explainer in {folder} edits {facts['shape']} images, the detector takes "
                    f"{list(detector.shape)}; load the detector it was fitted to."
                )
            explainer = cls(detector, fit_config(facts["config"]))
            explainer.seed, explainer.facts = facts["seed"], facts.get("facts", {})
            explainer._restore(tensors)
        except (KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{path} and its weights do not fit together ({one_line(error)}); restore the "
                "folder or fit again."
            ) from None
        return explainer

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        """Generator and concept classifier from their saved weights."""
        channels, config = self.detector.shape[0], self.config
        side = max(self.detector.shape[1:])
        size = self.detector.shape[1:]
        generator = Generator(channels, config.concepts, config.generator, side, size)
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
        if surrogate := _part(tensors, "surrogate/"):
            width, threshold = config.surrogate.width, float(self.detector.threshold)
            self.surrogate = Surrogate.create(self.detector.shape, width, threshold)
            self.surrogate.load_state_dict(surrogate)
        device = self._fabric.device
        self._generator = generator.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._classifier = classifier.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(cls, name: str | Path, *arguments: Any, **options: Any) -> Explainer:
        """Load from a folder or the Hugging Face hub; see `ifnormal.hub.load_from_hub`."""
        from ifnormal.common.hub import load_from_hub

        return load_from_hub(name, *arguments, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Publish on the Hugging Face hub; see `ifnormal.hub.push_to_hub`."""
        from ifnormal.common.hub import push_to_hub

        return push_to_hub(self, repo_id, **options)

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

    @torch.inference_mode()
    def _concept_probabilities(
        self, anomalies: Tensor, edits: Tensor, features: Tensor, features_after: Tensor
    ) -> Tensor:
        """What R says of every pair (anomaly, counterfactual): (N, K, K)."""
        classifier = self._trained()[1]
        in_pixels = not isinstance(classifier, FeatureConceptClassifier)
        before = to_float(anomalies) if in_pixels else features
        after = to_float(edits) if in_pixels else features_after
        logits = [classifier(before, after[:, k]) for k in range(edits.shape[1])]
        return torch.stack(logits, 1).float().softmax(2)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
