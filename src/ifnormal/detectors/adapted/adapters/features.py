"""Features for `inspect`: of a network's penultimate layer, of a user's function, or of images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


def extractor(
    network: nn.Module, features: Callable[[Tensor], Any] | str | None
) -> Callable[[Tensor], Tensor | None]:
    """A function that returns features (N, F) of images (N, C, H, W) right after a run on them.

    Args:
        network: the network that is run.
        features: a function of the images, or the name of the submodule whose input to take; by
            default that of the last linear or convolutional layer.
    """
    if callable(features):
        return partial(features_from, features)
    layer = LayerInput(network, features)
    return lambda images: layer.take(len(images))


class LayerInput:
    """The input of a network's last linear or convolutional layer, recorded while it runs.

    The first run shows which layer runs last; later runs record the same one.

    Args:
        network: the network.
        layer: name of another submodule to record the input of.
    """

    def __init__(self, network: nn.Module, layer: str | None = None) -> None:
        self._value: Tensor | None = None
        self._layer: nn.Module | None = None
        self._network = network
        self._handles: list[Any] = []
        if layer is not None:
            self._layer = _submodule(network, layer)
            self._layer.register_forward_pre_hook(self._record)
        else:
            self._handles = [
                module.register_forward_pre_hook(self._record_last)
                for module in network.modules()
                if isinstance(module, _LAYERS) or type(module).__name__ in _CONVERTED
            ]

    def take(self, count: int) -> Tensor | None:
        """(N, F) features of the last run; None where nothing was recorded."""
        if self._handles:
            for handle in self._handles:
                handle.remove()
            self._handles = []
            if self._layer is not None:
                self._layer.register_forward_pre_hook(self._record)
        value, self._value = self._value, None
        return None if value is None else pooled(value, count)

    def _record_last(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._layer = module
        self._record(module, inputs)

    def _record(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
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
    return projected(activations)


def projected(features: Tensor) -> Tensor:
    """(N, F) features; more than 1,024 dimensions are projected to 256 by a fixed random matrix.

    The projection nearly preserves distances (Johnson and Lindenstrauss 1984) and keeps the
    concept classifier small.
    """
    width = features.shape[1]
    if width <= _MOST:
        return features
    generator = torch.Generator().manual_seed(width)
    directions = torch.randn(width, _PROJECTED, generator=generator) / _PROJECTED**0.5
    return features @ directions.to(features.device, features.dtype)


def image_statistics(images: Tensor) -> Tensor:
    """Features of images for models without layers: mean colours and edge strengths in 4x4 cells.

    They are differentiable.

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


def features_from(function: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    """(N, F) features of images by a user's function.

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
