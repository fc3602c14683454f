"""How fast ifnormal trains and explains on this machine, and how much of the machine that takes.

python studies/speed.py --repeats 7 --steps 20

What is compared takes turns (A, B, C, A, B, C, …), so that a machine that slows down slows down all
of it; each figure is the median of the turns, with the smallest and the largest. The images are
random, as speed does not depend on what they show. For figures to be believed, nothing else may run
on the machine; the load found at the start is saved with them.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ifnormal.common.compute import has_fast_bfloat16
from ifnormal.common.pixels import quantize, to_float
from ifnormal.common.provenance import provenance
from ifnormal.common.storage import write_json
from ifnormal.config import DetectorConfig, FitConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.explainer import Explainer
from ifnormal.training.fit import fit
from ifnormal.training.state import TrainingState, unwrapped

RESULTS = Path(__file__).parent / "results" / "speed.json"
WARM_UP = 4  # training steps before the first one that is timed
EXPLAINED = (1, 64)  # images at once
CHANNELS = (64, 128, 256)  # of the convolutions that the machine's peak is looked for among
CONVOLVED = (64, 16, 16)  # images, height, width

Summary = dict[str, float]


@dataclass(frozen=True)
class Variant:
    """Precision and memory layout of a training."""

    config: FitConfig
    layout: str  # "channels_last" or "contiguous"


@dataclass(frozen=True)
class Bench:
    """What everything is measured with."""

    detector: Detector
    normal: Tensor
    outliers: Tensor
    steps: int


def main(arguments: Sequence[str] | None = None, config: FitConfig | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="turns of everything")
    parser.add_argument("--steps", type=int, default=20, help="timed training steps a turn")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.repeats < 1 or options.steps < 1:
        parser.error("--repeats and --steps must be at least 1.")
    result = measure(config or FitConfig(), options.repeats, options.steps)
    show(result)
    print(write_json(options.out, result))


def measure(config: FitConfig, repeats: int, steps: int) -> dict[str, Any]:
    """Every figure of this benchmark, JSON-compatible."""
    machine, idle_memory = facts(), peak_memory()
    setup = random_setup()
    detector = train_detector(setup, DetectorConfig(steps=20, batch_size=64), seed=0)
    bench = Bench(detector, setup.train_normal, setup.outliers, steps)
    variants = _variants(config)
    # First, so that the peak of memory is that of the shipped configuration and of nothing else.
    seconds_a_step(bench, variants["shipped"])
    memory = {"before training": idle_memory, "training": peak_memory()}
    flops = flops_a_step(bench, config)
    one = replace(config, steps=1)
    explainer = Explainer(detector, one).fit(setup.train_normal, setup.outliers)

    turns = []
    for _ in range(repeats):
        seconds = {name: seconds_a_step(bench, variant) for name, variant in variants.items()}
        figures = {f"{name} images/s": config.batch_size / s for name, s in seconds.items()}
        figures |= {
            f"shipped / {name}": seconds[name] / seconds["shipped"]
            for name in variants
            if name != "shipped"
        }
        figures |= _shares(flops, seconds["shipped"])
        figures |= _explaining(explainer, setup.test_anomalies, config.concepts)
        turns.append(figures)
    return {
        "facts": machine,
        "config": asdict(config),
        "repeats": repeats,
        "steps": steps,
        "variants": {
            name: f"{_precision(variant.config)}, {variant.layout}"
            for name, variant in variants.items()
        },
        "gflop_a_step": flops / 1e9,
        "memory_mib": memory,
        "figures": {name: _summary([turn[name] for turn in turns]) for name in turns[0]},
    }


def random_setup(count: int = 512) -> AnomalySetup:
    """Dark images are normal, bright ones outliers: a detector learns that in a few steps.

    It has to, because how many images of a step must change, and so what the step costs, depends on
    the detector's scores.
    """
    random = torch.Generator().manual_seed(0)
    dark, bright = (
        torch.randint(low, low + 128, (count, 3, 32, 32), dtype=torch.uint8, generator=random)
        for low in (0, 128)
    )
    few = count // 4
    return AnomalySetup(
        name="random",
        normal="dark",
        train_normal=dark,
        validation_normal=dark[:few],
        validation_anomalies=bright[:few],
        test_normal=dark[:few],
        test_anomalies=bright[:few],
        outliers=bright,
        validation_outliers=bright[:few],
    )


def _variants(config: FitConfig) -> dict[str, Variant]:
    plain = replace(config, precision="32-true")
    variants = {"shipped": Variant(config, "channels_last")}
    if _precision(config) != "32-true":
        variants["float32 channels_last"] = Variant(plain, "channels_last")
    return {**variants, "float32 contiguous": Variant(plain, "contiguous")}


def _precision(config: FitConfig) -> str:
    if config.precision == "auto":
        return "bf16-mixed" if has_fast_bfloat16() else "32-true"
    return config.precision


def seconds_a_step(bench: Bench, variant: Variant) -> float:
    """Seconds of one training step, the mean of `bench.steps` after warming up."""
    ends: list[float] = []

    def note(state: TrainingState) -> None:
        if not ends and _layout(state) != variant.layout:
            raise RuntimeError(f"This trains {_layout(state)}, not {variant.layout}.")
        _synchronize()
        ends.append(time.perf_counter())

    layout = nullcontext() if variant.layout == "channels_last" else contiguous_format()
    config = replace(variant.config, steps=WARM_UP + bench.steps)
    with layout, redirect_stderr(io.StringIO()):  # no progress bars in between
        fit(bench.detector, bench.normal, bench.outliers, config, seed=0, on_step=note)
    return (ends[-1] - ends[WARM_UP - 1]) / bench.steps


@contextmanager
def contiguous_format() -> Iterator[None]:
    """Whatever asks torch for channels_last is given its default layout, NCHW, instead.

    The library always asks for channels_last, and no user needs an option to switch that off. The
    comparison does, so it swaps the constant of torch that all the library's requests name.
    """
    with mock.patch.object(torch, "channels_last", torch.contiguous_format):
        yield


def _layout(state: TrainingState) -> str:
    """How the generator's 3x3 and larger kernels lie in memory."""
    kernels = [p for p in unwrapped(state.generator).parameters() if p.ndim == 4]
    apart = [p.is_contiguous() for p in kernels if min(p.shape) > 1]
    return "contiguous" if all(apart) else "mixed" if any(apart) else "channels_last"


def flops_a_step(bench: Bench, config: FitConfig) -> float:
    """Floating-point operations of one training step: all matrix products and convolutions."""
    counts = []
    # The difference leaves out what happens before the first step.
    for count in (1, 1 + bench.steps):
        short = replace(config, steps=count)
        with FlopCounterMode(display=False) as counter, redirect_stderr(io.StringIO()):
            fit(bench.detector, bench.normal, bench.outliers, short, seed=0)
        counts.append(counter.get_total_flops())
    return float(counts[1] - counts[0]) / bench.steps


def _shares(flops: float, seconds: float) -> dict[str, float]:
    """What a step computes a second, beside the best convolution of this machine just now."""
    step = flops / seconds / 1e12
    forward, both = (
        max(convolution_tflops(c, backward) for c in CHANNELS) for backward in (False, True)
    )
    return {
        "training step TFLOP/s": step,
        "convolution forward TFLOP/s": forward,
        "convolution forward + backward TFLOP/s": both,
        "step / convolution forward": step / forward,
        "step / convolution forward + backward": step / both,
    }


def convolution_tflops(channels: int, backward: bool) -> float:
    """10¹² operations a second of one 3x3 convolution in the fastest precision and layout."""
    count, height, width = CONVOLVED
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if has_fast_bfloat16() else torch.float32
    sizes = ((count, channels, height, width), (channels, channels, 3, 3))
    images, kernel = (
        torch.randn(size).to(device, dtype, memory_format=torch.channels_last) for size in sizes
    )
    upstream = torch.randn_like(images)

    def forward() -> None:
        with torch.inference_mode():
            F.conv2d(images, kernel, padding=1)

    def forward_and_backward() -> None:
        inputs = images.detach().requires_grad_(), kernel.detach().requires_grad_()
        torch.autograd.grad(F.conv2d(inputs[0], inputs[1], padding=1), inputs, upstream)

    passes = 3 if backward else 1  # backward is one product for the images, one for the kernel
    flops = passes * 2 * count * height * width * channels**2 * 9
    return flops / median_seconds(forward_and_backward if backward else forward) / 1e12


def _explaining(explainer: Explainer, images: Tensor, concepts: int) -> dict[str, float]:
    """Counterfactuals, and images explained by all concepts, a second; from 8 bit to 8 bit."""
    figures = {}
    for count in EXPLAINED:
        few = images[:count]

        def one(few: Tensor = few) -> Tensor:
            return quantize(explainer.edit(to_float(few), 0.0, 0))

        def every(few: Tensor = few) -> Tensor:
            floats = to_float(few)
            return torch.stack([quantize(explainer.edit(floats, 0.0, k)) for k in range(concepts)])

        figures[f"counterfactuals/s, {count} at once"] = count / median_seconds(one)
        figures[f"explained images/s, {count} at once"] = count / median_seconds(every)
    return figures


def median_seconds(call: Callable[[], object], seconds: float = 0.2, least: int = 5) -> float:
    """Median time of a call: as many as fit into `seconds`, at least `least`, after warming up."""
    for _ in range(2):
        call()
    times: list[float] = []
    while sum(times) < seconds or len(times) < least:
        _synchronize()
        begun = time.perf_counter()
        call()
        _synchronize()
        times.append(time.perf_counter() - begun)
    return median(times)


def peak_memory() -> float | None:
    """Most memory held so far, in MiB: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "win32":
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def facts() -> dict[str, Any]:
    """The machine and the code."""
    return {
        **provenance(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "fast_bfloat16": has_fast_bfloat16(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _summary(values: list[float]) -> Summary:
    return {"median": median(values), "min": min(values), "max": max(values)}


def show(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    machine = result["facts"]
    used = machine["versions"]
    print(
        f"{machine['gpu'] or used['cpu']}, {used['threads']} threads, "
        f"torch {used['torch']}, commit {machine['commit']}, load {machine['load']} at the start"
    )
    for name, variant in result["variants"].items():
        print(f"{name}: {variant}")
    print(f"\n{'':42}{'median':>10}   of {result['repeats']} (smallest to largest)")
    for name, figure in result["figures"].items():
        middle, low, high = (_number(figure[key]) for key in ("median", "min", "max"))
        print(f"{name:42}{middle:>10}   ({low} to {high})")
    print(f"{'GFLOP a training step':42}{_number(result['gflop_a_step']):>10}")
    for name, held in result["memory_mib"].items():
        shown = "unknown" if held is None else _number(held)
        print(f"{'peak memory in MiB, ' + name:42}{shown:>10}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
