"""DiffusionEditor: what the editors in the latent space of a diffusion model have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize, to_float
from ifnormal.config.diffusion import DiffusionConfig, MethodConfig, method_config
from ifnormal.config.editors import EditorConfig
from ifnormal.config.fit import FitConfig
from ifnormal.detectors.detector import Detector, log_odds_of, move_to
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.cost import cost_sentences
from ifnormal.explainers.diffusion.diffedit import LatentEdit
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.loading import (
    load_backbone,
    suited_precision,
    usable_precision,
)
from ifnormal.explainers.diffusion.memory_plan import MemoryPlan, Room, Work, make_do, place
from ifnormal.explainers.diffusion.prompts import prompts_of, source_of
from ifnormal.explainers.diffusion.traversal import traversal
from ifnormal.explainers.editor import Editor
from ifnormal.explainers.fit_data import FitData


class DiffusionEditor(Editor):
    """Edits latents of a frozen diffusion model, and paints the change onto the images.

    Args:
        backbone: the diffusion model.
        config: how it edits.
        prompts: what normal images are called; by default what the backbone was trained to call
            normal. Where each concept has a prompt of its own, several name the concepts.
        source: what anomalies are called, if they have a name in common; by default the backbone's
            word for what is not normal, if it has one.
    """

    prompt_each: ClassVar[bool] = False

    def __init__(
        self,
        backbone: LatentBackbone,
        config: MethodConfig,
        prompts: Sequence[str] = (),
        source: str | None = None,
    ) -> None:
        self.backbone, self.config = backbone, config
        self._given_prompts = list(prompts)
        wanted = self.concepts if self.prompt_each else 1
        self.prompts = prompts_of(wanted, prompts, backbone, self.prompt_each)
        self.source = source_of(source, backbone)
        self._plan: MemoryPlan | None = None

    @classmethod
    def create(cls, choice: EditorConfig, fit: FitConfig, diffusion: DiffusionConfig) -> Self:
        """An editor with the backbone that the options name."""
        assert choice.backbone is not None
        backbone = load_backbone(
            choice.backbone, suited_precision(), tiny_decoder=choice.tiny_decoder
        )
        config = getattr(diffusion, cls.name)
        return cls(backbone, config, choice.prompt, choice.source_prompt)

    @abstractmethod
    def latent_edit(self, canvas: Canvas) -> LatentEdit:
        """The K edits of the images of a canvas, in latents."""

    @classmethod
    @abstractmethod
    def work_of(cls, config: Any) -> Work:
        """What an editor of this configuration needs memory for."""

    @property
    @abstractmethod
    def unet_calls(self) -> int:
        """How many latent images the U-net is asked about for one image."""

    def learn(self, prepared: FitData, folder: Path | None, resume: bool) -> None:
        """Train what there is to train; nothing by default."""

    def require_fitted(self) -> None:
        """Raise a UserError where `fit` has to come before editing; nothing by default."""

    def fit(
        self, prepared: FitData, seed: int, folder: Path | None = None, resume: bool = False
    ) -> None:
        """Place detector and backbone on the same device, then `learn`; see `Editor.fit`."""
        self.use(prepared.detector)
        self.seed = seed
        self.settled()
        move_to(prepared.detector, self.backbone.device)
        self.learn(prepared, folder, resume)

    def settled(self) -> MemoryPlan:
        """The plan for the memory there is; the backbone is on the GPU, if there is one.

        Raises:
            UserError: not even one image fits into the memory of the GPU.
        """
        if self._plan is None:
            place(self.backbone)
            room = Room.on(self.backbone.device)
            self._plan = make_do(self.backbone, self.work_of(self.config), room)
        self.backbone.limits = self._plan.limits  # another editor may have had it
        return self._plan

    def latent_edits(self, images: Tensor) -> tuple[Canvas, LatentEdit]:
        """Edit (N, C, H, W) float images in [0, 1]; what to paint, and on what."""
        self.settled()
        canvas = Canvas.of(self.backbone, images)
        return canvas, self.latent_edit(canvas)

    def counterfactuals(
        self, images: Tensor, scores: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All concepts of an image come from one inversion; see `Editor.counterfactuals`."""
        edits, frames, left = [], [], len(scores)
        for part in images.split(self.settled().images):
            canvas, edit = self.latent_edits(part)
            with torch.no_grad():
                edits.append(quantize(canvas.paint(edit.edited, edit.mask)).cpu())
            if left > 0 and len(shares):
                followed = slice(left)
                some = canvas[followed], edit.edited[followed], edit.mask[followed]
                frames.append(traversal(self.detector, *some, shares).cpu())
            left -= len(part)
        shape = (len(scores), self.concepts, len(shares), *images.shape[1:])
        none = torch.zeros(shape, dtype=torch.uint8)
        return torch.cat(edits), torch.cat(frames) if frames else none

    def edit(self, images: Tensor, target: float | Tensor, concept: int) -> Tensor:
        """The frame of the traversal whose score is nearest to α, in 8 bit; see `Editor.edit`."""
        if len(images) == 0:
            return images.clone()
        targets = torch.as_tensor(target, dtype=torch.float32).expand(len(images))
        edited = []
        for part, wanted in zip(
            images.split(self.settled().images),
            targets.split(self.settled().images),
            strict=True,
        ):
            canvas, edit = self.latent_edits(part)
            own = log_odds_of(self.detector, quantize(part)).sigmoid().clamp_min(1e-6)
            share = (wanted.cpu() / own).clamp(0, 1)
            shares = torch.stack([torch.ones_like(share), share, torch.zeros_like(share)], 1)
            one = slice(concept, concept + 1)
            frames = traversal(self.detector, canvas, edit.edited[:, one], edit.mask, shares)[:, 0]
            chosen = torch.where(wanted.cpu() == 0, 2, 1)
            edited.append(frames[torch.arange(len(part)), chosen])
        return to_float(torch.cat(edited)).to(images.device)

    def edit_each(self, images: Tensor, concepts: Tensor) -> Tensor:
        """The counterfactuals of each image's own concept; see `Editor.edit_each`."""
        if len(images) == 0:
            return images.clone()
        edits, _ = self.counterfactuals(images, torch.zeros(0), torch.zeros(0))
        return to_float(edits[torch.arange(len(edits)), concepts.cpu()]).to(images.device)

    @torch.no_grad()
    def flags(self, canvas: Canvas, edit: LatentEdit) -> Tensor:
        """(N, K), which edits the detector flags."""
        made = quantize(canvas.paint(edit.edited, edit.mask))
        scores = log_odds_of(self.detector, made.flatten(0, 1)).sigmoid().view(made.shape[:2])
        return scores > self.detector.threshold

    @property
    def cost(self) -> str:
        """Calls of the U-net an image, and memory."""
        return cost_sentences(self.backbone, self.unet_calls, self.settled(), self.attempts)

    @property
    def attempts(self) -> int:
        """How often an image is edited at the most, as long as an edit of it is flagged."""
        return 1

    @property
    def facts(self) -> dict[str, Any]:
        """The method, the prompts and what the backbone was trained on."""
        return {
            **super().facts,
            "prompts": list(self.prompts),
            "source": self.source,
            "backbone": self.backbone.facts,
        }

    @property
    def card(self) -> dict[str, Any]:
        """The method, the backbone and the prompts."""
        return {
            **super().card,
            "Diffusion model": self.backbone.where,
            "Prompts": ", ".join(self.prompts),
        }

    def settings(self) -> dict[str, Any]:
        """The method, its prompts, and where its backbone is.

        Raises:
            UserError: the backbone was not loaded from a folder or the hub.
        """
        if not self.backbone.where:
            raise UserError(
                "An explainer is saved with the name of its backbone; save the backbone and load "
                "it from its folder first."
            )
        return {
            **super().settings(),
            "prompts": self.prompts,
            "source": self.source,
            "backbone": self.backbone.where,
            "precision": self.backbone.precision,
            "tiny_decoder": self.backbone.tiny_where,
        }

    @classmethod
    def load(
        cls, saved: Mapping[str, Any], tensors: Mapping[str, Tensor], detector: Detector
    ) -> Self:
        """See `Editor.load`; the backbone is loaded from where it was."""
        backbone = load_backbone(
            saved["backbone"],
            usable_precision(saved["precision"]),
            tiny_decoder=saved.get("tiny_decoder") or None,
        )
        config = method_config(saved["method"], saved["config"])
        editor = cls(backbone, config, saved["prompts"], saved["source"])
        editor.seed = saved["seed"]
        editor.use(detector)
        editor.restore(tensors)
        return editor

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the weights that `tensors` gave; there are none by default."""

    def require_shareable(self) -> None:
        """Refuse a backbone that only this machine has."""
        if Path(self.backbone.where).exists():
            raise UserError(
                f"The diffusion model {self.backbone.where} is on this machine alone; publish it "
                "and load it from the hub, so that others can use the explainer."
            )


def require_gradient(detector: Detector, what: str) -> None:
    """Refuse a black box where a gradient is needed.

    Raises:
        UserError: the detector only gives scores.
    """
    if detector.is_black_box:
        raise UserError(
            f"To {what} takes a detector with a gradient; use --generator inversion or diffedit "
            "without detector guidance."
        )
