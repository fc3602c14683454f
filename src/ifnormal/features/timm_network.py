"""Networks of the package timm (Wightman, "PyTorch Image Models")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError, one_line
from ifnormal.features.extractor import FeatureExtractor

KIND = "timm"
_MOST_STAGES = 5


class TimmNetwork(FeatureExtractor):
    """The stages of a network; four of a vision transformer, after each quarter of its blocks.

    Args:
        name: the SPEC of it.
        model: of timm, without a classifier and with `forward_intermediates`.
        side: images are resized to squares of so many pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, model: Any, side: int) -> None:
        super().__init__()
        self.name, self.model, self.side = name, model, side
        for part in ("mean", "std"):
            values = torch.tensor(model.pretrained_cfg[part])
            self.register_buffer(part, values[:, None, None])
        self.freeze()
        blocks = len(model.feature_info)
        count = blocks if blocks <= _MOST_STAGES else _MOST_STAGES - 1
        self.places = [blocks * (stage + 1) // count - 1 for stage in range(count)]
        self.middle = (max(0, count - 3), max(0, count - 2))
        with torch.no_grad():
            maps = self.compute_maps(torch.zeros(1, 3, side, side), range(count))
        self.channels = tuple(part.shape[1] for part in maps)

    def compute_maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Maps; nothing is computed beyond the last stage that is asked for."""
        places = sorted({self.places[stage] for stage in stages})
        found = self.model.forward_intermediates(
            self._prepared(images),
            indices=places,
            output_fmt="NCHW",
            intermediates_only=True,
            stop_early=True,
        )
        return [found[places.index(self.places[stage])] for stage in stages]

    def compute_pooled(self, images: Tensor) -> Tensor:
        """(N, F) features that the classifier of the network reads."""
        pooled: Tensor = self.model(self._prepared(images))
        return pooled

    def _prepared(self, images: Tensor) -> Tensor:
        return (self.resized(images) - self.mean) / self.std


def timm_network(model: str, side: int) -> TimmNetwork:
    """A network with its weights.

    Args:
        model: a name that `timm.list_pretrained()` shows, perhaps followed by a dot and the tag of
            the weights. The name of the extractor has the tag.
        side: images are resized to squares of so many pixels.

    Raises:
        UserError: timm is not installed, has no such network, or cannot fetch its weights.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError(
            f"Features of timm:{model} need timm ({one_line(error)}); install the extra with "
            "pip install 'ifnormal[timm]'."
        ) from None
    try:
        facts = timm.get_pretrained_cfg(model)
        if facts is None:
            raise ValueError("there is no such network")
        # Vision transformers then interpolate their position embeddings.
        options = {"img_size": side} if facts.fixed_input_size else {}
        network = timm.create_model(model, pretrained=True, num_classes=0, **options)
        name = f"{facts.architecture}.{facts.tag}" if facts.tag else model
        return TimmNetwork(f"{KIND}:{name}", network, side)
    except Exception as error:
        raise UserError(
            f"timm:{model} cannot be loaded as features ({one_line(error)}); choose a network that "
            "timm.list_pretrained() shows."
        ) from None
