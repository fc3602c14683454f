"""LatentExplainer: explains a detector by edits in the latent space of a diffusion model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ifnormal.common.errors import UserError, one_line
from ifnormal.common.pixels import quantize, to_float
from ifnormal.common.storage import load_tensors, save_tensors
from ifnormal.config.diffusion import (
    DiffEditConfig,
    InversionConfig,
    LatentConfig,
    MethodConfig,
    method_config,
)
from ifnormal.data.files.image_input import ImageInput
from ifnormal.detectors.detector import (
    Detector,
    device_of,
    log_odds_of,
    move_to,
)
from ifnormal.detectors.duck_typed import checked_detector
from ifnormal.detectors.loading import saved_detector
from ifnormal.explainers.base import ScoredEdits, anomalies_of, explanation_of
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.cost import Cost, cost_of, work_of
from ifnormal.explainers.diffusion.diffedit import LatentEdit, diffedit
from ifnormal.explainers.diffusion.inversion_editor import Score, inversion_edit
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.latent_fit import fit_latent_generator, latent_generator
from ifnormal.explainers.diffusion.latent_generator import LatentGenerator
from ifnormal.explainers.diffusion.loading import load_backbone, usable_precision
from ifnormal.explainers.diffusion.memory_plan import MemoryPlan, Room, make_do, place
from ifnormal.explainers.diffusion.prompts import (
    are_to_choose,
    class_names,
    most_accepted,
    prompts_of,
    source_of,
)
from ifnormal.explainers.diffusion.traversal import traversal
from ifnormal.explainers.preparation import prepare_given
from ifnormal.explanation.explanation import Explanation

Method = Literal["inversion", "diffedit", "latent"]
_METHODS: Mapping[type, Method] = {
    InversionConfig: "inversion",
    DiffEditConfig: "diffedit",
    LatentConfig: "latent",
}
FORMAT, _VERSION = "ifnormal.latent-explainer", 1
# Outliers that the names of concepts are chosen on.
_TRIED = 32


class LatentExplainer:
    """Explains why a detector flags an image, with a diffusion model that knows what is normal.

    Args:
        detector: as for `ifnormal.Explainer`.
        backbone: the diffusion model.
        config: which method, and how: `InversionConfig`, `DiffEditConfig` or `LatentConfig`.
        prompts: what normal images are called; several are the names of the concepts. By default
            what the backbone was trained to call normal: by the method inversion the names of its
            classes, of which `fit` takes those that the detector accepts most often.
        source: what anomalies are called, if they have a name in common; by default the backbone's
            word for what is not normal, if it has one.

    Attributes:
        facts: what made it; JSON-compatible.
    """

    def __init__(
        self,
        detector: Any,
        backbone: LatentBackbone,
        config: MethodConfig | None = None,
        prompts: Sequence[str] = (),
        source: str | None = None,
    ) -> None:
        self._model = detector
        self._detector: Detector | None = checked_detector(detector)
        self.backbone, self.config = backbone, config or InversionConfig()
        self.method = _METHODS[type(self.config)]
        self._given = list(prompts)
        self.prompts = prompts_of(self.config, prompts, backbone)
        self.source = source_of(source, backbone)
        self.seed, self.images_per_second = 0, 0.0
        self.facts: dict[str, Any] = {}
        self.surrogate = None
        self._generator: LatentGenerator | None = None
        self._plan: MemoryPlan | None = None

    @property
    def concepts(self) -> int:
        """K."""
        return 1 if isinstance(self.config, DiffEditConfig) else self.config.concepts

    @property
    def detector(self) -> Detector:
        """What is explained; calibrated once the explainer is fitted.

        Raises:
            UserError: nothing was fitted yet, and the size of the images is not known before.
        """
        if self._detector is None:
            raise UserError("The explainer is not fitted; call fit first.")
        return self._detector

    def cost(self) -> Cost:
        """What an image costs; to be told before the work starts.

        Raises:
            UserError: not even one image fits into the memory of the GPU.
        """
        return cost_of(self.backbone, self.config, self._settled())

    def _settled(self) -> MemoryPlan:
        """The backbone on the GPU, if there is one, and set up for the memory there is."""
        if self._plan is None:
            place(self.backbone)
            room = Room.on(self.backbone.device)
            self._plan = make_do(self.backbone, work_of(self.config), room)
        self.backbone.bounds = self._plan.bounds  # another explainer may have had it
        return self._plan

    def fit(
        self,
        normal: ImageInput,
        outliers: ImageInput | None = None,
        seed: int = 0,
        folder: Path | None = None,
        resume: bool = False,
        false_alarm_rate: float | None = None,
    ) -> LatentExplainer:
        """Calibrate the detector and, of the method "latent", train G′; as `Explainer.fit`."""
        prepared = prepare_given(self._model, normal, outliers, seed, false_alarm_rate)
        self._detector, self.seed = prepared.detector, seed
        self._settled()
        move_to(self._detector, self.backbone.device)
        if isinstance(self.config, LatentConfig):
            _require_gradient(self._detector, "train the latent generator")
            self._generator = fit_latent_generator(
                self.backbone,
                self._detector,
                prepared.normal,
                prepared.outliers,
                self.prompts[0],
                self.config,
                seed,
                folder,
                resume,
                self.source,
            )
        if are_to_choose(self.config, self._given, self.backbone):
            self.prompts = self._preferred(prepared.outliers)
        self.facts = {
            "seed": seed,
            "generator": self.method,
            self.method: asdict(self.config),
            "prompts": list(self.prompts),
            "source": self.source,
            "backbone": self.backbone.facts,
            **prepared.facts,
        }
        return self

    def save(self, folder: Path | str) -> None:
        """Write `explainer.json`, what was trained, and `detector/`; the backbone by its place.

        Raises:
            UserError: the backbone was not loaded from a folder or the hub.
        """
        folder = Path(folder)
        if not self.backbone.where:
            raise UserError(
                "An explainer is saved with the name of its backbone; save the backbone and load "
                "it from its folder first."
            )
        self.detector.save(folder / "detector")
        facts = {
            "format": FORMAT,
            "version": _VERSION,
            "shape": self.detector.shape,
            "seed": self.seed,
            "method": self.method,
            "config": asdict(self.config),
            "prompts": self.prompts,
            "source": self.source,
            "backbone": self.backbone.where,
            "precision": self.backbone.precision,
            "tiny_decoder": self.backbone.tiny_where,
            "facts": self.facts,
        }
        save_tensors(folder, "explainer", self.tensors(), facts)

    @classmethod
    def load(cls, folder: Path | str, detector: Any = None, trust: bool = False) -> LatentExplainer:
        """Read what `save` wrote; as `Explainer.load`.

        Raises:
            UserError: a file is missing or damaged, or the backbone is no longer where it was.
        """
        folder = Path(folder)
        tensors, facts = load_tensors(folder, "explainer")
        path = folder / "explainer.json"
        if facts.get("format") != FORMAT or facts.get("version") != _VERSION:
            raise UserError(f"{path} is no explainer with a diffusion model; fit it again.")
        found = saved_detector(folder / "detector", detector, trust)
        try:
            explainer = cls(
                found,
                load_backbone(
                    facts["backbone"],
                    usable_precision(facts["precision"]),
                    tiny_decoder=facts.get("tiny_decoder") or None,
                ),
                method_config(facts["method"], facts["config"]),
                facts["prompts"],
                facts["source"],
            )
            explainer.seed, explainer.facts = facts["seed"], facts["facts"]
            if isinstance(explainer.config, LatentConfig):
                explainer._generator = latent_generator(explainer.backbone, explainer.config)
                explainer._generator.load_state_dict(
                    {k.removeprefix("generator/"): v for k, v in tensors.items()}
                )
                explainer._generator.eval()
        except (KeyError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{path} and its weights do not fit together ({one_line(error)}); restore the "
                "folder or fit again."
            ) from None
        return explainer

    def explain(
        self,
        anomalies: ImageInput,
        names: Sequence[str] | None = None,
        traversals: int = 24,
        traversal_steps: int = 9,
    ) -> Explanation:
        """K counterfactuals of N anomalies, with what the detector says of them.

        Args:
            anomalies: N images: files, arrays or tensors; see `as_images`.
            names: N names; by default their paths or numbers.
            traversals: for how many anomalies to follow α from their score down to 0.
            traversal_steps: images on such a way.

        Raises:
            UserError: there are no images, or not of the detector's shape.
        """
        images, names = anomalies_of(anomalies, names, self.detector.shape)
        shares = torch.linspace(1, 0, traversal_steps)
        edits, ways, left = [], [], min(traversals, len(images))
        for part in images.split(self._settled().images):
            canvas, edit = self.edit(to_float(part))
            with torch.no_grad():
                edits.append(quantize(canvas.paint(edit.edited, edit.mask)).cpu())
            if left > 0:
                followed = traversal(
                    self.detector, canvas[:left], edit.edited[:left], edit.mask[:left], shares
                )
                ways.append(followed.cpu())
            left -= len(part)
        none = images.new_zeros(0, self.concepts, traversal_steps, *images.shape[1:])
        scored = ScoredEdits.by(
            self.detector, images, torch.cat(edits), torch.cat([none, *ways]), shares
        )
        return explanation_of(self.detector, scored, names, self.facts)

    def edit(self, images: Tensor) -> tuple[Canvas, LatentEdit]:
        """Edit (N, C, H, W) float images in [0, 1]; what to paint, and on what."""
        self._settled()
        canvas = Canvas.of(self.backbone, images)
        if isinstance(self.config, DiffEditConfig):
            return canvas, diffedit(
                self.backbone, canvas.latents, self.prompts[0], self.source, self.config, self.seed
            )
        if isinstance(self.config, InversionConfig):
            return canvas, self._inverted(canvas, self.config)
        return canvas, self._generated(canvas, self.config)

    def _preferred(self, outliers: Tensor) -> list[str]:
        """Of the names of normal classes, those whose edits of outliers the detector accepts."""
        names = class_names(self.backbone)
        some = to_float(outliers[:: -(-len(outliers) // _TRIED)])
        every = replace(cast(InversionConfig, self.config), concepts=len(names), attempts=1)
        trial = LatentExplainer(self.detector, self.backbone, every, names, self.source)
        parts = some.split(trial._settled().images)
        accepted = torch.cat([~self._flags(*trial.edit(part)) for part in parts])
        return most_accepted(names, accepted.float().mean(0).tolist(), self.concepts)

    def tensors(self) -> dict[str, Tensor]:
        """All weights that were trained for this explainer, by name."""
        if self._generator is None:
            return {}
        return {f"generator/{k}": v for k, v in self._generator.state_dict().items()}

    def _inverted(self, canvas: Canvas, config: InversionConfig) -> LatentEdit:
        """Edits by the method inversion; bolder ones of images that are still flagged."""
        guide = self._log_odds if config.detector_guidance else None

        def edit(some: Canvas, config: InversionConfig) -> LatentEdit:
            log_odds = guide(some) if guide else None
            words = self.prompts, self.source
            return inversion_edit(self.backbone, some.latents, *words, config, self.seed, log_odds)

        made = edit(canvas, config)
        flagged = self._flags(canvas, made).sum(1)
        for _ in range(config.attempts - 1):
            rows = flagged.nonzero()[:, 0]
            if len(rows) == 0:
                break
            config = config.bolder()
            again = edit(canvas[rows], config)
            left = self._flags(canvas[rows], again).sum(1)
            better = left < flagged[rows]
            made.edited[rows[better]] = again.edited[better]
            made.mask[rows[better]] = again.mask[better]
            flagged[rows] = torch.minimum(left, flagged[rows])
        return made

    @torch.no_grad()
    def _flags(self, canvas: Canvas, edit: LatentEdit) -> Tensor:
        """(N, K), which edits the detector flags."""
        made = quantize(canvas.paint(edit.edited, edit.mask))
        scores = log_odds_of(self.detector, made.flatten(0, 1)).sigmoid().view(made.shape[:2])
        return scores > self.detector.threshold

    @torch.no_grad()
    def _generated(self, canvas: Canvas, config: LatentConfig) -> LatentEdit:
        if self._generator is None:
            raise UserError("The latent generator is not fitted; call fit first.")
        generator = self._generator.to(canvas.latents.device)
        start = diffedit(
            self.backbone, canvas.latents, self.prompts[0], self.source, config.diffedit, 0
        )
        count = len(canvas.latents)
        edited = [
            generator(
                start.edited[:, 0],
                torch.zeros(count, device=canvas.latents.device),
                torch.full((count,), concept, device=canvas.latents.device),
            )
            for concept in range(config.concepts)
        ]
        return LatentEdit(canvas.latents, torch.stack(edited, 1), start.mask)

    def _log_odds(self, canvas: Canvas) -> Score:
        """What the detector says of edits that are painted on a canvas."""
        detector, device = self.detector, device_of(self.detector)
        canvas = canvas.draft()
        _require_gradient(detector, "guide edits")

        def log_odds(latents: Tensor, mask: Tensor) -> Tensor:
            painted = canvas.paint(latents, mask)
            return detector.inspect(painted.flatten(0, 1).to(device))[0].view(painted.shape[:2])

        return log_odds


def _require_gradient(detector: Detector, what: str) -> None:
    if detector.is_black_box:
        raise UserError(
            f"To {what} takes a detector with a gradient; use --generator inversion or diffedit "
            "without detector guidance."
        )
