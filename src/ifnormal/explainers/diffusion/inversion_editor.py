"""InversionEditor: K different edits of an image from one inversion; nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.pixels import to_float
from ifnormal.config.diffusion import InversionConfig
from ifnormal.detectors.detector import device_of
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.cost import edit_calls
from ifnormal.explainers.diffusion.diffedit import LatentEdit
from ifnormal.explainers.diffusion.editor import DiffusionEditor, require_gradient
from ifnormal.explainers.diffusion.inversion import Score, inversion_edit
from ifnormal.explainers.diffusion.memory_plan import Work
from ifnormal.explainers.diffusion.prompts import class_names, most_accepted
from ifnormal.explainers.fit_data import FitData

# Outliers that the names of concepts are chosen on.
_TRIED = 32


class InversionEditor(DiffusionEditor):
    """Inverts an image once and denoises it K times, each time under the prompt of a concept.

    By default the prompts are names of the normal classes that the backbone was trained on; where
    there are more classes than concepts, `fit` takes those whose edits of outliers the detector
    accepts most often.
    """

    name = "inversion"
    prompt_each = True
    config: InversionConfig

    @property
    def concepts(self) -> int:
        """K."""
        return self.config.concepts

    @property
    def concept_names(self) -> tuple[str, ...]:
        """The prompts, where each concept has one of its own."""
        return tuple(self.prompts) if len(set(self.prompts)) == self.concepts > 1 else ()

    @property
    def attempts(self) -> int:
        """How often an image is edited as long as an edit of it is flagged."""
        return self.config.attempts

    @classmethod
    def work_of(cls, config: InversionConfig) -> Work:
        """K edits; with a gradient where the detector guides them."""
        guided = config.concepts if config.detector_guidance else 0
        return Work(config.concepts, config.guidance > 1, guided)

    @property
    def unet_calls(self) -> int:
        """Mask, inversion, and K times the way back."""
        return edit_calls(self.backbone, self.config, self.concepts)

    def learn(self, prepared: FitData, folder: Path | None, resume: bool) -> None:
        """Choose the names of the concepts, where the user named none and there is a choice."""
        names = class_names(self.backbone)
        if self.concepts > 1 and not self._given_prompts and len(names) > self.concepts:
            self.prompts = self._most_accepted(names, prepared.outliers)

    def _most_accepted(self, names: list[str], outliers: Tensor) -> list[str]:
        """Of the names of normal classes, those whose edits of outliers the detector accepts."""
        some = to_float(outliers[:: -(-len(outliers) // _TRIED)])
        every: Any = replace(self.config, concepts=len(names), attempts=1)
        trial = InversionEditor(self.backbone, every, names, self.source)
        trial.use(self.detector)
        parts = some.split(trial.settled().images)
        accepted = torch.cat([~trial.flags(*trial.latent_edits(part)) for part in parts])
        return most_accepted(names, accepted.float().mean(0).tolist(), self.concepts)

    def latent_edit(self, canvas: Canvas) -> LatentEdit:
        """K edits; images with an edit that is still flagged are edited again, more boldly."""
        config = self.config
        made = self._edit_once(canvas, config)
        flagged = self.flags(canvas, made).sum(1)
        for _ in range(config.attempts - 1):
            rows = flagged.nonzero()[:, 0]
            if len(rows) == 0:
                break
            config = config.bolder()
            again = self._edit_once(canvas[rows], config)
            left = self.flags(canvas[rows], again).sum(1)
            better = left < flagged[rows]
            made.edited[rows[better]] = again.edited[better]
            made.mask[rows[better]] = again.mask[better]
            flagged[rows] = torch.minimum(left, flagged[rows])
        return made

    def _edit_once(self, canvas: Canvas, config: InversionConfig) -> LatentEdit:
        guide = self._log_odds(canvas) if config.detector_guidance else None
        words = self.prompts, self.source
        return inversion_edit(self.backbone, canvas.latents, *words, config, self.seed, guide)

    def _log_odds(self, canvas: Canvas) -> Score:
        """What the detector says of edits that are painted on a canvas, with a gradient."""
        detector, device = self.detector, device_of(self.detector)
        canvas = canvas.draft()
        require_gradient(detector, "guide edits")

        def log_odds(latents: Tensor, mask: Tensor) -> Tensor:
            painted = canvas.paint(latents, mask)
            return detector.inspect(painted.flatten(0, 1).to(device))[0].view(painted.shape[:2])

        return log_odds
