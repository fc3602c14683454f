"""Features for `inspect`: a network's penultimate layer, found by watching it run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.common.errors import UserError

_LAYERS = (nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
# What onnx2torch makes of linear layers whose weights it does not recognise as such.
_CONVERTED = frozenset(("OnnxGemm", "OnnxMatMul"))
_MOST = 1024
_PROJECTED = 256


class LayerInput:
    """The input of a network's last linear or convolutional layer, caught while it runs.

    Which layer runs last is learned from the first run and kept.

    Args:
        network: the network.
        layer: name of the submodule to watch instead.
    """

    def __init__(self, network: nn.Module, layer: str | None = None) -> None:
        self._value: Tensor | None = None
        self._layer: nn.Module | None = None
        self._network = network
        self._watching: list[Any] = []
        if layer is not None:
            self._layer = _submodule(network, layer)
            self._layer.register_forward_pre_hook(self._catch)
        else:
            self._watching = [
                module.register_forward_pre_hook(self._remember)
                for module in network.modules()
                if isinstance(module, _LAYERS) or type(module).__name__ in _CONVERTED
            ]

    def take(self, count: int) -> Tensor | None:
        """(N, F) features of the run that has just ended; None where nothing was caught."""
        if self._watching:
            for handle in self._watching:
                handle.remove()
            self._watching = []
            if self._layer is not None:
                self._layer.register_forward_pre_hook(self._catch)
        value, self._value = self._value, None
        return None if value is None else pooled(value, count)

    def _remember(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._layer = module
        self._catch(module, inputs)

    def _catch(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        first = inputs[0] if inputs else None
        self._value = first if isinstance(first, Tensor) else None


def _submodule(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError:
        names = [n for n, module in network.named_modules() if isinstance(module, _LAYERS)]
        raise UserError(
            f"The model has no submodule {name!r} to take features from; it has "
            f"{', '.join(names) or 'no layers that ifnormal knows'}."
        ) from None


def pooled(activations: Tensor, count: int) -> Tensor | None:
    """Activations of any layout as (N, F) features: averages and maxima over their places.

    (N, F) stays, (N, F, H, W) gives the average and the maximum of each channel, (N, T, F) the
    average over the T tokens. None where the first axis is not that of the images.
    """
    if activations.ndim < 2 or activations.shape[0] != count or not activations.is_floating_point():
        return None
    if activations.ndim == 3:
        activations = activations.mean(1)
    elif activations.ndim > 3:
        places = activations.flatten(2)
        activations = torch.cat([places.mean(2), places.amax(2)], 1)
    return narrowed(activations)


def narrowed(features: Tensor) -> Tensor:
    """(N, F) features, those of more than 1,024 dimensions by a fixed random projection to 256.

    Distances survive it (Johnson and Lindenstrauss), and the concept classifier stays small.
    """
    width = features.shape[1]
    if width <= _MOST:
        return features
    generator = torch.Generator().manual_seed(width)
    directions = torch.randn(width, _PROJECTED, generator=generator) / _PROJECTED**0.5
    return features @ directions.to(features.device, features.dtype)


def described(images: Tensor) -> Tensor:
    """A fixed description of images for models that show no layer of their own, differentiable.

    Mean colours and mean strength of horizontal and vertical edges, on a grid of 4x4.

    Args:
        images: (N, C, H, W) in [0, 1].

    Returns:
        (N, 16 · (C + 2)).
    """
    grey = F.pad(images.mean(1, keepdim=True), (0, 1, 0, 1), mode="replicate")
    across = grey[:, :, :-1, 1:] - grey[:, :, :-1, :-1]
    down = grey[:, :, 1:, :-1] - grey[:, :, :-1, :-1]
    edges = (torch.cat([across, down], 1).square() + 1e-4).sqrt()
    return F.adaptive_avg_pool2d(torch.cat([images, edges], 1), 4).flatten(1)


def from_function(function: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    """(N, F) features as a user's own function gives them.

    Raises:
        UserError: it returns anything else.
    """
    value = torch.as_tensor(function(images))
    found = pooled(value, len(images)) if value.is_floating_point() else None
    if found is None:
        raise UserError(
            f"The features function returns {tuple(value.shape)} {value.dtype} for {len(images)} "
            f"images; return ({len(images)}, F) floating-point numbers."
        )
    return found
