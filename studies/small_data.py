"""A few hundred normal images and nothing else: bottles, screws and road signs, end to end.

python studies/small_data.py --data DATA

DATA holds the Parquet sets `mvtec_bottle`, `mvtec_screw` and `gtsrb`. For each set: a detector from
normal images and synthetic outliers, an explainer for it, and the figures on anomalies that neither
has seen. Figures go to studies/results/small-data.json, pictures to docs/images/.
`--keep DIR` keeps detectors and explainers and takes up what is there already.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.compute import has_fast_bfloat16
from ifnormal.common.pixels import to_float, to_pil
from ifnormal.common.provenance import versions
from ifnormal.common.storage import write_json
from ifnormal.config import DetectorConfig, FitConfig, adapted_to
from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.sources.parquet import ParquetImages
from ifnormal.data.synthetic import synthetic_outliers
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import in_batches
from ifnormal.evaluation.auroc import auroc, normality_auroc
from ifnormal.evaluation.distance import mse
from ifnormal.evaluation.fid import fid_n
from ifnormal.evaluation.validity import validity
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.explanation import Explanation

ROOT = Path(__file__).parent.parent
_VISIBLE = 25  # of 255: a pixel that changed by less is not seen to have changed
_SPEED_LIMITS = (0, 1, 2, 3, 4, 5, 7, 8)
_SIGNS = 500
_MASK_MARGIN = 4  # pixels around a defect that may change with it


@dataclass(frozen=True)
class Experiment:
    """One set: what is normal, and how it is trained on.

    Attributes:
        name, normal: its name, and what is normal in words.
        load: the data folder to the setup and, where there are any, masks (N, H, W) of the defects.
        detector, fit: options.
        shown: (rows, scale) of the picture: how many anomalies, how many times as large.
    """

    name: str
    normal: str
    load: Callable[[Path, int], tuple[AnomalySetup, Tensor | None]]
    detector: DetectorConfig
    fit: FitConfig
    shown: tuple[int, int]


def _bottles(data: Path, seed: int) -> tuple[AnomalySetup, Tensor | None]:
    return _mvtec(data / "mvtec_bottle", 3, seed)


def _screws(data: Path, seed: int) -> tuple[AnomalySetup, Tensor | None]:
    return _mvtec(data / "mvtec_screw", 1, seed, _evenly_exposed)


def _evenly_exposed(images: Tensor) -> Tensor:
    """With the median of every image at 190.

    Test images of good screws are darker than all others: median brightness alone tells them from
    those of defects with an AuROC of 100, the wrong way round.
    """
    middle = images.flatten(1).float().median(1).values[:, None, None, None]
    return (images.float() + 190 - middle).clamp(0, 255).round().to(torch.uint8)


def _mvtec(
    folder: Path,
    channels: Any,
    seed: int,
    prepared: Callable[[Tensor], Tensor] = lambda images: images,
) -> tuple[AnomalySetup, Tensor | None]:
    source = ParquetImages(folder, channels)
    normal, test = source.read("train").images, source.read("test")
    is_defect = test.labels == test.class_names.index("defect")
    masks = _masks(folder, is_defect)
    good, bad = test.images[~is_defect], test.images[is_defect]
    return _setup(folder.name, *map(prepared, (normal, good, bad)), seed), masks


def _masks(folder: Path, is_defect: Tensor) -> Tensor | None:
    """(N, H, W) bool masks of the defects, where the set has them."""
    import pyarrow.parquet as pq

    (path,) = sorted(folder.glob("test-*.parquet"))
    column = pq.read_table(path, columns=["mask"]).column("mask").to_pylist()
    wanted = [mask for mask, bad in zip(column, is_defect.tolist(), strict=True) if bad]
    if any(mask is None for mask in wanted):
        return None
    pictures = [np.asarray(Image.open(io.BytesIO(m["bytes"])).convert("L")) for m in wanted]
    return torch.from_numpy(np.stack(pictures)) > 127


def _signs(data: Path, seed: int) -> tuple[AnomalySetup, Tensor | None]:
    source = ParquetImages(data / "gtsrb")
    train, test = source.read("train"), source.read("test")
    limits = torch.tensor(_SPEED_LIMITS)
    normal = train.images[torch.isin(train.labels, limits)]
    chosen = torch.randperm(len(normal), generator=generator(0, "speed limits"))[:_SIGNS]
    is_normal = torch.isin(test.labels, limits)
    some = torch.randperm(int((~is_normal).sum()), generator=generator(0, "other signs"))[:400]
    good, bad = test.images[is_normal][:400], test.images[~is_normal][some]
    return _setup("gtsrb", normal[chosen], good, bad, seed), None


def _setup(name: str, normal: Tensor, good: Tensor, bad: Tensor, seed: int) -> AnomalySetup:
    """A setup from all normal training images: an eighth held out, the rest spoilt for outliers."""
    order = torch.randperm(len(normal), generator=generator(0, "held-out normal images"))
    held_out = max(20, len(normal) // 8)
    validation, train = normal[order[:held_out]], normal[order[held_out:]]
    pool = synthetic_outliers(train, 2000, seed)
    spoilt = synthetic_outliers(validation, 200, seed + 1)
    return AnomalySetup(
        name, "", train, validation, spoilt, good, bad, outliers=pool, validation_outliers=spoilt
    )


# One kind of normal thing, one concept.
_LARGE = adapted_to(
    FitConfig(concepts=1, batch_size=8, steps=1000, ema=0.99, checkpoint_every=100), side=128
)
EXPERIMENTS = (
    Experiment(
        "bottle",
        "bottles seen from above",
        _bottles,
        DetectorConfig(steps=500, batch_size=32),
        _LARGE,
        (8, 1),
    ),
    Experiment(
        "screw",
        "screws at any angle, in grey",
        _screws,
        DetectorConfig(steps=600, batch_size=32, flip="both", turn=180),
        replace(_LARGE, steps=400),
        (8, 1),
    ),
    Experiment(
        "signs",
        "speed limits",
        _signs,
        # A tenth of the held-out speed limits scores as high as any other sign.
        DetectorConfig(steps=600, batch_size=64, false_alarm_rate=0.2),
        FitConfig(steps=700, checkpoint_every=100),
        (12, 2),
    ),
)


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, function: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = function()
        self.seconds[name] = round(time.perf_counter() - begun, 1)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("IFNORMAL_DATA"))
    parser.add_argument("--sets", nargs="+", default=[e.name for e in EXPERIMENTS])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of every explainer, instead of its own")
    parser.add_argument("--detector-steps", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--concepts", type=int)
    parser.add_argument("--weights", nargs="*", default=[], help="such as minimality=2")
    parser.add_argument("--results", type=Path, default=ROOT / "studies" / "results")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    target = options.results / "small-data.json"
    for experiment in EXPERIMENTS:
        if experiment.name not in options.sets:
            continue
        changed = {
            name: value
            for name in ("steps", "batch_size", "concepts")
            if (value := getattr(options, name)) is not None
        }
        pairs = [pair.split("=") for pair in options.weights]
        weights = replace(experiment.fit.weights, **{k: float(v) for k, v in pairs})
        experiment = replace(experiment, fit=replace(experiment.fit, weights=weights, **changed))
        if options.detector_steps:
            steps = replace(experiment.detector, steps=options.detector_steps)
            experiment = replace(experiment, detector=steps)
        keep = options.keep / experiment.name if options.keep else None
        figures, picture = run(experiment, options.data, options.seed, keep)
        # Read again each time: another process may be at another set.
        saved = _read(target)
        saved[experiment.name] = figures
        options.results.mkdir(parents=True, exist_ok=True)
        write_json(target, saved)
        options.images.mkdir(parents=True, exist_ok=True)
        # A palette halves the file; nobody measures in this picture.
        picture = picture.quantize(256, dither=Image.Dither.NONE)
        picture.save(options.images / f"small-data-{experiment.name}.png", optimize=True)
        print(experiment.name, figures["figures"], figures["seconds"], flush=True)


def run(
    experiment: Experiment, data: Path, seed: int, keep: Path | None
) -> tuple[dict[str, Any], Image.Image]:
    """Train, explain and measure one set: figures and picture."""
    clock, load = _Clock(), os.getloadavg()[0]
    setup, masks = clock.run("images and outliers", lambda: experiment.load(data, seed))

    def trained(name: str, config: DetectorConfig, own_seed: int) -> TrainedDetector:
        folder = keep / name if keep else None
        if folder and (folder / "detector.json").exists():
            return TrainedDetector.load(folder)
        detector = train_detector(setup, config, own_seed)
        if folder:
            detector.save(folder)
        return detector

    detector = clock.run("detector", lambda: trained("detector", experiment.detector, seed))
    judge = clock.run("second detector", lambda: trained("second", experiment.detector, seed + 100))
    explainer = Explainer(detector, experiment.fit)
    if keep and (keep / "explainer" / "explainer.json").exists():
        explainer = Explainer.load(keep / "explainer", detector)
    else:
        folder = keep / "fit" if keep else None
        clock.run(
            "explainer",
            lambda: explainer.fit(
                setup.train_normal, seed=seed, folder=folder, resume=folder is not None
            ),
        )
        if keep:
            explainer.save(keep / "explainer")
    scores = in_batches(detector, setup.test_anomalies)
    flagged = scores > detector.threshold
    anomalies = setup.test_anomalies[flagged]
    explanation = clock.run("explain", lambda: explainer.explain(anomalies, traversals=1))
    figures = measure(explanation, detector, judge, setup)
    kept = explainer.edit(to_float(setup.test_normal), in_batches(detector, setup.test_normal), 0)
    figures["normal_kept_mse"] = float((kept - to_float(setup.test_normal)).square().mean())
    if masks is not None:
        figures |= localisation(explanation, masks[flagged])
    facts = {
        "normal": experiment.normal,
        "images": {
            "training": len(setup.train_normal),
            "held out": len(setup.validation_normal),
            "test normal": len(setup.test_normal),
            "test anomalies": len(setup.test_anomalies),
            "explained": len(anomalies),
        },
        "shape": list(setup.shape),
        "figures": figures,
        "fid_extractor": "penultimate features of a second detector, trained with another seed",
        "seconds": clock.seconds,
        "images_per_second": round(explainer.images_per_second, 1),
        "seed": seed,
        "detector": asdict(experiment.detector),
        "fit": asdict(experiment.fit),
        "load": load,
        "fast_bfloat16": has_fast_bfloat16(),
        "versions": versions(),
        "commit": _commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    return facts, picture(explanation, *experiment.shown)


def measure(
    explanation: Explanation, detector: TrainedDetector, judge: TrainedDetector, setup: AnomalySetup
) -> dict[str, Any]:
    """Every figure that needs no mask; lists have one entry a concept."""
    anomalies, edited = explanation.anomalies, explanation.counterfactuals
    concepts = range(edited.shape[1])
    normal_scores = in_batches(detector, setup.test_normal)
    scores = in_batches(detector, setup.test_anomalies)

    def features(images: Tensor) -> Tensor:
        return in_batches(lambda x: judge.inspect(x)[1], images)

    def agreed(images: Tensor) -> float:
        return 100 * float((in_batches(judge, images) <= judge.threshold).float().mean())

    of_anomalies, of_normal = features(anomalies), features(setup.test_normal)
    change = (edited.int() - anomalies[:, None].int()).abs().amax(2)
    visible = [change[:, k] > _VISIBLE for k in concepts]
    return {
        "detector_auroc": auroc(normal_scores, scores),
        "flagged_anomalies": 100 * float((scores > detector.threshold).float().mean()),
        "flagged_normal": 100 * float((normal_scores > detector.threshold).float().mean()),
        "validity": validity(explanation.calibrated_scores_after, explanation.threshold),
        "second_detector_auroc": auroc(
            in_batches(judge, setup.test_normal), in_batches(judge, setup.test_anomalies)
        ),
        "second_detector_agrees": [agreed(edited[:, k]) for k in concepts],
        "second_detector_on_anomalies": agreed(anomalies),
        "mse": mse(anomalies, edited),
        "changed_pixels": [100 * float(v.float().mean()) for v in visible],
        "sharpness": [_sharpness(edited[:, k], anomalies) for k in concepts],
        "fid_n": fid_n(features(edited.flatten(0, 1)), of_anomalies, of_normal),
        "normality_auroc": normality_auroc(normal_scores, explanation.calibrated_scores_after),
    }


def _sharpness(edited: Tensor, images: Tensor) -> float:
    """Share in % of the fine detail left where nothing changed visibly: under 100 it is blurred."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)

    def detail(x: Tensor) -> Tensor:
        return F.conv2d(to_float(x).mean(1, keepdim=True), kernel).abs()

    change = (edited.int() - images.int()).abs().amax(1, keepdim=True).float()
    same = F.max_pool2d(change, 5, 1, 2)[:, :, 1:-1, 1:-1] <= _VISIBLE
    return 100 * float(detail(edited)[same].sum() / detail(images)[same].sum())


def localisation(explanation: Explanation, masks: Tensor) -> dict[str, Any]:
    """Whether edits are where the defects are, by their masks (N, H, W).

    `edit_inside`: share of the squared change within 4 pixels of the defect, mean over images;
    `area_inside`: the share of the image that this is, which an edit without aim would have.
    `heatmap_auroc`: how often |edit|, smoothed a little, is larger in a defect's pixel than in
    another of the same image, mean over images.
    """
    size = 2 * _MASK_MARGIN + 1
    wide = F.max_pool2d(masks[:, None].float(), size, 1, _MASK_MARGIN)[:, 0] > 0
    before = to_float(explanation.anomalies)
    result: dict[str, Any] = {"area_inside": 100 * float(wide.float().mean())}
    inside, aurocs = [], []
    for k in range(explanation.counterfactuals.shape[1]):
        energy = (to_float(explanation.counterfactuals[:, k]) - before).square().mean(1)
        shares = (energy * wide).sum((1, 2)) / energy.sum((1, 2)).clamp_min(1e-12)
        inside.append(100 * float(shares.mean()))
        heat = F.avg_pool2d(energy.sqrt()[:, None], 5, 1, 2)[:, 0].clamp(0, 1)
        each = [auroc(h[~m], h[m]) for h, m in zip(heat, masks, strict=True) if m.any()]
        aurocs.append(sum(each) / len(each))
    return {**result, "edit_inside": inside, "heatmap_auroc": aurocs}


def picture(explanation: Explanation, count: int, scale: int) -> Image.Image:
    """Anomalies, each concept's counterfactual and its difference, evenly spaced over the set."""
    total = len(explanation)
    chosen = torch.linspace(0, total - 1, min(count, total)).round().long()
    before, after = explanation.anomalies[chosen], explanation.counterfactuals[chosen]
    rows: list[tuple[str, Tensor, Tensor | None]] = [
        ("anomaly", before, explanation.calibrated_scores_before[chosen])
    ]
    for k in range(after.shape[1]):
        after_scores = explanation.calibrated_scores_after[chosen, k]
        rows.append((f"concept {'ABCDEFGH'[k % 8]}", after[:, k], after_scores))
    for k in range(after.shape[1]):
        # Grey where nothing changed.
        change = (after[:, k].int() - before.int()) + 128
        rows.append((f"change {'ABCDEFGH'[k % 8]}", change.clamp(0, 255).to(torch.uint8), None))
    side, gap, label, foot = scale * before.shape[-1], 4, 70, 16
    sheet = Image.new(
        "RGB", (label + len(chosen) * (side + gap), len(rows) * (side + foot)), "white"
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for r, (name, images, scores) in enumerate(rows):
        top = r * (side + foot)
        draw.text((2, top + side // 2 - 6), name, "black", font)
        for n, image in enumerate(images):
            left = label + n * (side + gap)
            shown = to_pil(image).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(shown, (left, top))
            if scores is not None:
                text = f"{float(scores[n]):.2f}"
                draw.text((left + side // 2, top + side + foot // 2 - 1), text, "black", font, "mm")
    return sheet


def _read(path: Path) -> dict[str, Any]:
    import json

    saved: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return saved


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
