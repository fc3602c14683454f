"""Vision transformers of the package transformers, such as DINOv2 (Oquab et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError, one_line
from ifnormal.common.hub import fetch
from ifnormal.common.quiet import quiet
from ifnormal.common.storage import read_json
from ifnormal.features.extractor import FeatureExtractor

KIND = "transformers"
_NORMALISATION = "preprocessor_config.json"
_FILES = ("config.json", _NORMALISATION, "*.safetensors", "*.safetensors.index.json")
_STAGES = 4
_HAS_TO_BE = (
    "it has to be a vision transformer with config.json, preprocessor_config.json and safetensors, "
    "such as facebook/dinov2-small"
)


class TransformersNetwork(FeatureExtractor):
    """Four stages, the patch tokens after each quarter of the blocks, and the class token.

    Every stage is normalised by the last layer norm, as in DINOv2's own `get_intermediate_layers`.
    Detectors of patches read the last two stages: AnomalyDINO (Damm et al., WACV 2025) reads the
    last one, which knows no classes where the network was trained without labels.

    Args:
        name: the SPEC of it.
        model: takes `pixel_values` and returns `hidden_states` of a first token for the image,
            perhaps further ones, and then the patches.
        mean, std: of each channel of the images it was trained on.
        side: rounded down to a multiple of the model's patches.
    """

    middle = (2, 3)
    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, model: Any, mean: Sequence[float], std: Sequence[float], side: int
    ) -> None:
        super().__init__()
        self.name, self.model = name, model
        patch = int(model.config.patch_size)
        self.grid = max(1, side // patch)
        self.side = self.grid * patch
        self.channels = (int(model.config.hidden_size),) * _STAGES
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        resized = "interpolate_pos_encoding" in signature(model.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if resized else {}
        self.freeze()

    def compute_maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Patch tokens of stages 0 to 3 as maps (N, C, grid, grid)."""
        found = self._run(images, output_hidden_states=True)
        blocks = len(found.hidden_states) - 1  # the first are the embeddings
        norm: nn.Module = getattr(self.model, "layernorm", None) or self.model.norm
        tokens = [
            norm(found.hidden_states[blocks * (stage + 1) // _STAGES])
            if stage < _STAGES - 1
            else found.last_hidden_state
            for stage in stages
        ]
        size = (self.grid, self.grid)
        return [part[:, -(self.grid**2) :].mT.unflatten(2, size) for part in tokens]

    def compute_pooled(self, images: Tensor) -> Tensor:
        """(N, C) class tokens."""
        pooled: Tensor = self._run(images).last_hidden_state[:, 0]
        return pooled

    def _run(self, images: Tensor, **options: bool) -> Any:
        prepared = (self.resized(images) - self.mean) / self.std
        return self.model(pixel_values=prepared, **options, **self.options)


def transformers_network(model: str, side: int) -> TransformersNetwork:
    """A vision transformer with its weights, which must be safetensors.

    Args:
        model: a folder, or `owner/name` on the hub, perhaps followed by `@` and a branch, tag or
            commit. The name of the extractor has the commit.
        side: see `TransformersNetwork`.

    Raises:
        UserError: transformers is not installed, or the model cannot be reached or read, or is no
            vision transformer.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"Features of {model} need transformers ({one_line(error)}); install the extra with "
            "pip install 'ifnormal[transformers]'."
        ) from None
    folder = Path(model).expanduser()
    if folder.is_dir():
        name = str(folder.resolve())
    else:
        repo, _, revision = model.partition("@")
        folder = fetch(repo, _FILES, revision or None, None)
        name = f"{repo}@{folder.name}"  # snapshots are named by their commit
    try:
        if not (folder / _NORMALISATION).is_file():
            raise ValueError(f"it has no {_NORMALISATION}")
        facts = read_json(folder / _NORMALISATION)
        with quiet("transformers"):
            network, loading = transformers.AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        network.float().pooler = None  # not used, and not always among the weights
        missing = [key for key in loading["missing_keys"] if not key.startswith("pooler.")]
        if missing:
            raise ValueError(f"weights of {missing[0]} are missing")
        made = TransformersNetwork(
            f"{KIND}:{name}", network, facts["image_mean"], facts["image_std"], side
        )
        with torch.no_grad():
            (last,) = made.compute_maps(torch.zeros(1, 3, side, side), (_STAGES - 1,))
        if last.shape[1:] != (made.channels[-1], made.grid, made.grid):
            raise ValueError(f"its tokens are no grid of {made.grid} by {made.grid}")
    except Exception as error:
        raise UserError(
            f"{model} cannot be loaded as features ({one_line(error)}); {_HAS_TO_BE}."
        ) from None
    return made
