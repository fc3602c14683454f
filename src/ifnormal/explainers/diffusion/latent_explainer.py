"""LatentExplainer: an `Explainer` whose edits are made by a diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from typing_extensions import Self

from ifnormal.common.errors import UserError
from ifnormal.config.diffusion import (
    DiffEditConfig,
    InversionConfig,
    LatentConfig,
    MethodConfig,
)
from ifnormal.explainers.diffusion.diffedit_editor import DiffEditEditor
from ifnormal.explainers.diffusion.editor import DiffusionEditor
from ifnormal.explainers.diffusion.inversion_editor import InversionEditor
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.latent_editor import LatentEditor
from ifnormal.explainers.explainer import Explainer

_EDITORS: dict[type, type[DiffusionEditor]] = {
    InversionConfig: InversionEditor,
    DiffEditConfig: DiffEditEditor,
    LatentConfig: LatentEditor,
}


class LatentExplainer(Explainer):
    """Explains why a detector flags an image, with a diffusion model that knows what is normal.

    Args:
        detector: as for `ifnormal.Explainer`.
        backbone: the diffusion model.
        config: which method, and how: `InversionConfig`, `DiffEditConfig` or `LatentConfig`.
        prompts, source: see `DiffusionEditor`.
    """

    def __init__(
        self,
        detector: Any,
        backbone: LatentBackbone,
        config: MethodConfig | None = None,
        prompts: Sequence[str] = (),
        source: str | None = None,
    ) -> None:
        config = config or InversionConfig()
        editor = _EDITORS[type(config)](backbone, config, prompts, source)
        super().__init__(detector, editor=editor)

    @classmethod
    def load(cls, folder: Path | str, detector: Any = None, trust: bool = False) -> Self:
        """Read what `save` wrote; see `Explainer.load`.

        Raises:
            UserError: also where the explainer has no diffusion model.
        """
        explainer = super().load(folder, detector, trust)
        if not isinstance(explainer.editor, DiffusionEditor):
            raise UserError(
                f"{folder} is no explainer with a diffusion model; load it as Explainer."
            )
        return explainer

    @property
    def method(self) -> str:
        """The name of the editor: "inversion", "diffedit" or "latent"."""
        return self.editor.name

    @property
    def backbone(self) -> LatentBackbone:
        """The diffusion model."""
        return cast(DiffusionEditor, self.editor).backbone

    @property
    def prompts(self) -> list[str]:
        """What each concept is asked for, or what all are."""
        return cast(DiffusionEditor, self.editor).prompts
