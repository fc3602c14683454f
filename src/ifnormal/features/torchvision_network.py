"""Convolutional networks of the package torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError, one_line
from ifnormal.features.extractor import FeatureExtractor

KIND = "torchvision"
_MOST_STAGES = 5


class TorchvisionNetwork(FeatureExtractor):
    """One stage a resolution: the last map of each, found by a run.

    Args:
        name: the SPEC of it.
        model: a classifier from images to logits, with maps (N, C, h, w) inside.
        mean, std: of each channel of the images it was trained on.
        side: images are resized to squares of so many pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, model: nn.Module, mean: Sequence[float], std: Sequence[float], side: int
    ) -> None:
        super().__init__()
        self.name, self.model, self.side = name, model, side
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.freeze()
        self.places = self._last_of_each_resolution()[-_MOST_STAGES:]
        count = len(self.places)
        self.middle = (max(0, count - 3), max(0, count - 2))
        with torch.no_grad():
            maps = self.compute_maps(torch.zeros(1, 3, side, side), range(count))
        self.channels = tuple(part.shape[1] for part in maps)

    def compute_maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Maps, the finest first."""
        found = self._run(images, [self.places[stage] for stage in stages])
        return [found[self.places[stage]] for stage in stages]

    def compute_pooled(self, images: Tensor) -> Tensor:
        """(N, C) means of the last maps."""
        return self._run(images, self.places[-1:])[self.places[-1]].mean((2, 3))

    def _run(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """What some modules of the model return."""
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, given: Any, output: Tensor) -> None:
                found[name] = output

            return hook

        modules = dict(self.model.named_modules())
        hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
        try:
            self.model((self.resized(images) - self.mean) / self.std)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _last_of_each_resolution(self) -> list[str]:
        names = [name for name, _ in self.model.named_modules() if name]
        with torch.no_grad():
            found = self._run(torch.zeros(1, 3, self.side, self.side), names)
        last: dict[int, str] = {}
        for name, output in found.items():  # in the order in which they are computed
            is_map = isinstance(output, Tensor) and output.ndim == 4
            if is_map and output.shape[2] == output.shape[3] > 1:
                last[output.shape[2]] = name
        if not last:
            raise ValueError("it has no maps of features, as convolutional networks have")
        return list(last.values())


def torchvision_network(model: str, side: int) -> TorchvisionNetwork:
    """A network with its weights.

    Args:
        model: a name that `torchvision.models.list_models()` shows, perhaps followed by `@` and the
            name of its weights. The name of the extractor has the name of the weights.
        side: images are resized to squares of so many pixels.

    Raises:
        UserError: torchvision is not installed, has no such network, or cannot fetch its weights.
    """
    try:
        from torchvision import models
    except ImportError as error:
        raise UserError(
            f"Features of torchvision:{model} need torchvision ({one_line(error)}); install the "
            "version that belongs to your torch."
        ) from None
    plain, _, chosen = model.partition("@")
    try:
        weights = models.get_model_weights(plain)[chosen or "DEFAULT"]
        network = models.get_model(plain)
        if hasattr(network, "transform_input"):
            network.transform_input = True  # the weights of Inception expect it
        network.load_state_dict(
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        )
        facts = weights.transforms()
        return TorchvisionNetwork(
            f"{KIND}:{plain}@{weights.name}", network, facts.mean, facts.std, side
        )
    except Exception as error:
        raise UserError(
            f"torchvision:{model} cannot be loaded as features ({one_line(error)}); choose a "
            "convolutional network that torchvision.models.list_models() shows."
        ) from None
