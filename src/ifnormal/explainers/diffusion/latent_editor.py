"""LatentEditor: the generator G′ of the paper, trained on top of DiffEdit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ifnormal.common.checkpoint import module_tensors, restore_modules
from ifnormal.common.errors import UserError
from ifnormal.config.diffusion import LatentConfig
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.cost import edit_calls
from ifnormal.explainers.diffusion.diffedit import LatentEdit, diffedit
from ifnormal.explainers.diffusion.editor import DiffusionEditor, require_gradient
from ifnormal.explainers.diffusion.latent_fit import fit_latent_generator, latent_generator
from ifnormal.explainers.diffusion.latent_generator import LatentGenerator
from ifnormal.explainers.diffusion.memory_plan import Work
from ifnormal.explainers.fit_data import FitData


class LatentEditor(DiffusionEditor):
    """Edits what DiffEdit made of an image by a latent generator G′(z, α, k)."""

    name = "latent"
    checkpoints = ("latent generator",)
    learns = True
    config: LatentConfig
    _generator: LatentGenerator | None = None

    @property
    def concepts(self) -> int:
        """K."""
        return self.config.concepts

    @classmethod
    def work_of(cls, config: LatentConfig) -> Work:
        """K edits, and the gradients of a batch of the training."""
        edits = config.concepts
        return Work(edits, config.diffedit.guidance > 1, edits * config.batch_size)

    @property
    def unet_calls(self) -> int:
        """Those of DiffEdit."""
        return edit_calls(self.backbone, self.config.diffedit, 1)

    def require_fitted(self) -> None:
        """Raise a UserError where G′ is not trained."""
        self._trained()

    def learn(self, prepared: FitData, folder: Path | None, resume: bool) -> None:
        """Train G′; see `fit_latent_generator`."""
        require_gradient(self.detector, "train the latent generator")
        self._generator = fit_latent_generator(
            self.backbone,
            self.detector,
            prepared.normal,
            prepared.outliers,
            self.prompts[0],
            self.config,
            self.seed,
            folder,
            resume,
            self.source,
        )

    @torch.no_grad()
    def latent_edit(self, canvas: Canvas) -> LatentEdit:
        """G′(DiffEdit(z), 0, k) for every concept."""
        device = canvas.latents.device
        generator = self._trained().to(device)
        words = self.prompts[0], self.source
        start = diffedit(self.backbone, canvas.latents, *words, self.config.diffedit, 0)
        target = torch.zeros(len(canvas.latents), device=device)
        edited = [
            generator(start.edited[:, 0], target, torch.full_like(target, k, dtype=torch.long))
            for k in range(self.concepts)
        ]
        return LatentEdit(canvas.latents, torch.stack(edited, 1), start.mask)

    def tensors(self) -> dict[str, Tensor]:
        """Weights of G′."""
        return {} if self._generator is None else module_tensors({"generator": self._generator})

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the weights of G′."""
        generator = latent_generator(self.backbone, self.config)
        restore_modules({"generator": generator}, tensors)
        self._generator = generator.eval()

    def _trained(self) -> LatentGenerator:
        if self._generator is None:
            raise UserError("The latent generator is not fitted; call fit first.")
        return self._generator
