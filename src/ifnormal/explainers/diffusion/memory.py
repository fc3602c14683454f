"""How much memory a diffusion model takes to work, found out without working.

The same code runs once for one image on tensors that have a shape but no content (torch's
FakeTensorMode), and the largest sum of the bytes that are alive together is what it takes. Not
counted are the weights, what kernels take for themselves, and what an allocator leaves unused.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone


def weight_bytes(backbone: LatentBackbone) -> int:
    """Of all its weights, as they are."""
    return sum(weight.numel() * weight.element_size() for weight in backbone.parameters())


class MemoryEstimate:
    """What one image takes in each part of a backbone, as that is set up when it is asked.

    Empty copies of the weights take longest to make, so they are made once.
    """

    def __init__(self, backbone: LatentBackbone) -> None:
        self._backbone = backbone
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)

    @cached_property
    def _empty(self) -> dict[int, Any]:
        with self._mode:
            weights = {
                id(weight): nn.Parameter(_empty_as(weight), requires_grad=False)
                for weight in self._backbone.parameters()
            }
            return weights | {id(b): _empty_as(b) for b in self._backbone.buffers()}

    def unet_bytes(self) -> int:
        """Bytes that the U-net takes for one latent image."""
        with self._rehearsal() as shadow, torch.no_grad():
            latents, config = _latents(shadow), shadow.unet.config
            length = self._backbone.tokenizer.model_max_length
            words = torch.empty(1, length, config.cross_attention_dim)
            return peak_bytes(lambda: shadow.predict(latents, 1, words))

    def encoder_bytes(self) -> int:
        """Bytes that encoding one image takes."""
        with self._rehearsal() as shadow, torch.no_grad():
            image = torch.empty(1, 3, *shadow.size)
            return peak_bytes(lambda: shadow.encode(image))

    def decoder_bytes(self) -> int:
        """Bytes that decoding one latent image takes."""
        with self._rehearsal() as shadow, torch.no_grad():
            latents = _latents(shadow)
            return peak_bytes(lambda: shadow.decode(latents))

    def gradient_bytes(self) -> int:
        """Bytes of decoding one latent image and of its gradient.

        By the tiny decoder if there is one.
        """
        with self._rehearsal() as shadow, torch.enable_grad():
            latents = _latents(shadow).requires_grad_()
            draw = shadow.decode if shadow.tiny is None else shadow.draft
            return peak_bytes(lambda: draw(latents).sum().backward())

    @contextmanager
    def _rehearsal(self) -> Iterator[LatentBackbone]:
        """A copy without content or text encoder, where new tensors have no content either."""
        backbone = self._backbone
        known = self._empty | {id(p): None for p in (backbone.text_encoder, backbone.tokenizer)}
        known[id(backbone.schedule)] = backbone.schedule
        with self._mode:
            yield deepcopy(backbone, known)


def peak_bytes(work: Callable[[], Any]) -> int:
    """The most bytes of new tensors that are alive together while something is done."""
    with _Alive() as alive:
        work()
    return alive.most


def _empty_as(tensor: Tensor) -> Tensor:
    # Not empty_like, which would look at the tensor itself first.
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


def _latents(shadow: LatentBackbone) -> Tensor:
    height, width = (side // shadow.factor for side in shadow.size)
    return torch.empty(1, shadow.vae.config.latent_channels, height, width)


class _Alive(TorchDispatchMode):
    """Adds up the storage of tensors from when they are made to when nothing holds them any more.

    Attributes:
        most: bytes, the highest sum so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sizes: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._now = self.most = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if _is_tensor(t)}
        made = func(*args, **(kwargs or {}))
        for tensor in filter(_is_tensor, tree_leaves(made)):
            storage = tensor.untyped_storage()
            key = id(storage)
            if key not in given and key not in self._sizes:  # neither a view nor in place
                size = storage.nbytes()
                self._sizes[key] = size, weakref.ref(storage, partial(self._gone, key))
                self._now += size
        self.most = max(self.most, self._now)
        return made

    def _gone(self, key: int, _: object) -> None:
        self._now -= self._sizes.pop(key)[0]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
