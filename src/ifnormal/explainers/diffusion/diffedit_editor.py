"""DiffEditEditor: DiffEdit (Couairon et al., ICLR 2023) as an editor; nothing is trained."""

from __future__ import annotations

from ifnormal.config.diffusion import DiffEditConfig
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.cost import edit_calls
from ifnormal.explainers.diffusion.diffedit import LatentEdit, diffedit
from ifnormal.explainers.diffusion.editor import DiffusionEditor
from ifnormal.explainers.diffusion.memory_plan import Work


class DiffEditEditor(DiffusionEditor):
    """One edit of each image: what the prompt of normal images makes of it."""

    name = "diffedit"
    config: DiffEditConfig

    @property
    def concepts(self) -> int:
        """There is one."""
        return 1

    @classmethod
    def work_of(cls, config: DiffEditConfig) -> Work:
        """One edit."""
        return Work(1, config.guidance > 1)

    @property
    def unet_calls(self) -> int:
        """Mask, inversion and the way back."""
        return edit_calls(self.backbone, self.config, 1)

    def latent_edit(self, canvas: Canvas) -> LatentEdit:
        """DiffEdit; see `diffedit`."""
        words = self.prompts[0], self.source
        return diffedit(self.backbone, canvas.latents, *words, self.config, self.seed)
