"""Editors: the ways of making counterfactuals, by the name that `--generator` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ifnormal.config.checks import require


@dataclass(frozen=True)
class EditorEntry:
    """Where an editor is, and what has to be known of it before it is loaded.

    Attributes:
        home: "module:class", below `ifnormal.explainers`.
        format: of its `explainer.json`.
        needs_backbone: it edits with a diffusion model, which `--backbone` names.
        refines: it can refine counterfactuals that are still flagged.
    """

    home: str
    format: str
    needs_backbone: bool = False
    refines: bool = False


_DIFFUSION = "ifnormal.latent-explainer"

# A new editor is one file or folder in `explainers/` and one line here.
EDITORS: Mapping[str, EditorEntry] = {
    "pixel": EditorEntry("pixel_editor:PixelEditor", "ifnormal.explainer", refines=True),
    "inversion": EditorEntry("diffusion.inversion_editor:InversionEditor", _DIFFUSION, True),
    "diffedit": EditorEntry("diffusion.diffedit_editor:DiffEditEditor", _DIFFUSION, True),
    "latent": EditorEntry("diffusion.latent_editor:LatentEditor", _DIFFUSION, True),
    "exemplar": EditorEntry("exemplar.editor:ExemplarEditor", "ifnormal.exemplar-explainer"),
}


def require_refinement(generator: str) -> None:
    """Refuse to refine by an editor that cannot.

    Raises:
        UserError: the editor of this name has no way of refining.
    """
    require(
        EDITORS[generator].refines,
        f"The generator {generator} cannot refine its counterfactuals; leave refine out.",
    )


@dataclass(frozen=True)
class EditorConfig:
    """Which editor makes the counterfactuals, and the diffusion model that some of them edit with.

    Attributes:
        generator: what makes the counterfactuals: "pixel" is a generator that is trained for the
            detector; "exemplar" replaces regions by those of real normal images and trains nothing;
            "inversion" and "diffedit" use a diffusion model as it is; "latent" trains a
            generator on top of a diffusion model.
        backbone: the diffusion model of "inversion", "diffedit" and "latent": a folder in the
            format of diffusers, such as `ifnormal train-backbone` writes, or owner/name on the hub.
        prompt: what normal images are called, for the diffusion model. For "inversion" it may be
            given several times: each prompt names one concept.
        source_prompt: what the images to explain are called, for the diffusion model. By default
            its own word for images that are not normal; "" names nothing.
        tiny_decoder: an AutoencoderTiny for the gradients of the detector, to save memory: a folder
            or owner/name on the hub. The final pictures are still decoded by the diffusion model.
    """

    generator: str = "pixel"
    backbone: str | None = None
    prompt: tuple[str, ...] = ()
    source_prompt: str | None = None
    tiny_decoder: str | None = None

    def __post_init__(self) -> None:
        require(
            self.generator in EDITORS,
            f"There is no generator {self.generator!r}; choose one of {', '.join(EDITORS)}.",
        )
        for name in ("backbone", "prompt", "source_prompt", "tiny_decoder"):
            option = name.replace("_", "-")
            require(
                self.needs_backbone or getattr(self, name) in (None, ()),
                f"--{option} is of a diffusion model; name a --generator that uses one.",
            )

    @property
    def needs_backbone(self) -> bool:
        """Whether the editor uses a diffusion model."""
        return EDITORS[self.generator].needs_backbone

    def require_backbone(self) -> None:
        """Refuse an editor with a diffusion model where none is named.

        Raises:
            UserError: there is no backbone.
        """
        require(
            not self.needs_backbone or self.backbone is not None,
            f"The generator {self.generator} needs a diffusion model; name it with --backbone, or "
            "train one with ifnormal train-backbone.",
        )
