"""Output: the one score an image in whatever a model returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ifnormal.common.errors import UserError

# In order of preference; the first are anomalib's.
SCORES = ("pred_score", "pred_scores", "anomaly_score", "anomaly_scores", "score", "scores")
MAPS = ("anomaly_map", "anomaly_maps")


def scores_of(output: Any, count: int, name: str) -> Tensor:
    """One score an image out of a model's output.

    Taken are, in this order: what is called `pred_score` or the like in a mapping, named tuple or
    object; the maximum of what is called `anomaly_map`; a tensor or array of one number an image;
    the maximum of a tensor (N, H, W) or (N, 1, H, W), which is an anomaly map.

    Args:
        output: what the model returned for `count` images.
        count: N.
        name: what an error message calls the model.

    Returns:
        (N,) floating point, as differentiable as it came.

    Raises:
        UserError: the output has no such thing.
    """
    found = _named(output)
    if found is None and isinstance(output, Sequence) and not isinstance(output, str):
        found = _only_scores(output, count)
    tensor = _tensor(output if found is None else found)
    if tensor is None:
        raise UserError(
            f"{name} returns {describe(output)} for {count} images; return one score an image, or "
            f"something with a {SCORES[0]} or {MAPS[0]}."
        )
    scores = _one_an_image(tensor, count)
    if scores is None:
        raise UserError(
            f"{name} returns {describe(tensor)} for {count} images; return one score an image, "
            f"({count},), for instance from a function of your own around it."
        )
    return scores


def describe(value: Any) -> str:
    """What a value is, in a few words."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).replace('torch.', '')} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, tuple | list) and not all(isinstance(v, int | float) for v in value):
        return f"a {type(value).__name__} of {', '.join(map(describe, value))}"
    return f"a {type(value).__name__}"


def _named(output: Any) -> Any:
    for name in (*SCORES, *MAPS):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if value is not None:
            return value
    return None


def _only_scores(output: Sequence[Any], count: int) -> Any:
    """The one floating-point tensor of one number an image in a tuple or list, if there is one."""
    tensors = [_tensor(value) for value in output if isinstance(value, Tensor | np.ndarray)]
    floats = [t for t in tensors if t is not None]
    if len(floats) == 1:
        return floats[0]
    single = [t for t in floats if t.numel() == count]
    return single[0] if len(single) == 1 else None


def _tensor(value: Any) -> Tensor | None:
    """A floating-point tensor; None for labels, masks and whatever else is no score."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value, dtype=None if isinstance(value, np.ndarray) else np.float64)
            value = torch.from_numpy(np.ascontiguousarray(array))
        except (TypeError, ValueError):
            return None
    return value if value.is_floating_point() else None


def _one_an_image(tensor: Tensor, count: int) -> Tensor | None:
    if tensor.numel() == count and (tensor.ndim == 0 or tensor.shape[0] == count):
        return tensor.reshape(count)
    is_map = tensor.ndim == 3 or (tensor.ndim == 4 and tensor.shape[1] == 1)
    return tensor.flatten(1).amax(1) if is_map and tensor.shape[0] == count else None


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, cut short; its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
