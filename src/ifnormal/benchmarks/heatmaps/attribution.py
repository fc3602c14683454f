"""Grad-CAM and integrated gradients, by captum."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.benchmarks.heatmaps.heatmap import HeatFunction, Heatmap
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import Detector, device_of
from ifnormal.explainers.heatmap import blurred

_AT_ONCE = 32
_STEPS = 32  # of the integration path


def _grad_cam(normal: Tensor, seed: int) -> HeatFunction:
    captum = _captum()

    def heat(detector: Detector, images: Tensor) -> Tensor:
        made = captum.LayerGradCam(_log_odds(detector), _last_convolution(detector))

        def attribute(floats: Tensor) -> Tensor:
            cam = made.attribute(floats, relu_attributions=True).detach().float()
            size = (images.shape[2], images.shape[3])
            return F.interpolate(cam, size, mode="bilinear", align_corners=False)[:, 0]

        return _by_parts(attribute, detector, images)

    return heat


def _integrated_gradients(normal: Tensor, seed: int) -> HeatFunction:
    captum, usual = _captum(), to_float(normal).mean(0, keepdim=True)

    def heat(detector: Detector, images: Tensor) -> Tensor:
        made = captum.IntegratedGradients(_log_odds(detector))
        baseline = usual.to(device_of(detector))

        def attribute(floats: Tensor) -> Tensor:
            each = made.attribute(
                floats, baseline, n_steps=_STEPS, internal_batch_size=max(_AT_ONCE, len(floats))
            )
            return blurred(each.detach().float().cpu().abs().sum(1))

        return _by_parts(attribute, detector, images)

    return heat


def _by_parts(attribute: Callable[[Tensor], Tensor], detector: Detector, images: Tensor) -> Tensor:
    device, found = device_of(detector), []
    for part in images.split(_AT_ONCE) if len(images) else ():
        with torch.inference_mode(False), torch.enable_grad():
            floats = to_float(part).to(device).clone().requires_grad_(True)
            found.append(attribute(floats).cpu().nan_to_num(0, 0, 0))
    return torch.cat(found) if found else torch.zeros(0, *images.shape[2:])


def _log_odds(detector: Detector) -> Callable[[Tensor], Tensor]:
    return lambda images: detector.inspect(images)[0]


def _last_convolution(detector: Detector) -> nn.Module:
    """The last convolution larger than 1x1; a 1x1 head may have a single channel."""
    return _convolutions(detector)[-1]


def _convolutions(detector: Detector) -> list[nn.Module]:
    network = detector.torch_module()
    modules = [] if network is None else network.modules()
    return [m for m in modules if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]


def _captum() -> ModuleType:
    try:
        import captum.attr
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"This heatmap needs captum ({error}); pip install 'ifnormal[captum]'."
        ) from None
    return captum.attr


def _has_gradient(detector: Detector) -> bool:
    return not detector.is_black_box


GRAD_CAM = Heatmap(
    name="grad-cam",
    title="Grad-CAM",
    source="Selvaraju et al. 2017, arXiv 1610.02391, by captum",
    prepare=_grad_cam,
    applies=lambda detector: _has_gradient(detector) and bool(_convolutions(detector)),
)
INTEGRATED_GRADIENTS = Heatmap(
    name="integrated-gradients",
    title="integrated gradients",
    source="Sundararajan et al. 2017, arXiv 1703.01365, by captum, from the mean normal image",
    prepare=_integrated_gradients,
    applies=_has_gradient,
)
