"""Does EAP tell good synthetic outliers from useless ones, and do detectors learn better from good?

python studies/synthetic_outliers.py --data DATA [--sets mvtec_screw] [--seeds 0] [--detectors head]

For each set and seed, 1,000 synthetic outliers are rated. Detectors are trained with all of them,
with those that are not useless, with as many random ones, and with the useless ones: "bce" from
scratch, and "head", a logistic regression on features of EfficientNet-Lite0, which takes seconds.
The AuROC is that of real test anomalies. The head is also trained with 40 outliers of each kind of
defect, and Spearman's correlation over the kinds tells whether EAP predicts which are useful.
Nothing is chosen here. Rows in `results/synthetic_outliers.json` are not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ifnormal.benchmarks.experiment import BenchRun
from ifnormal.benchmarks.experiments.small_data import few_normal
from ifnormal.benchmarks.options import configs_of
from ifnormal.benchmarks.pictures import write_columns
from ifnormal.common.provenance import provenance
from ifnormal.common.storage import read_json, write_json
from ifnormal.config import DetectorConfig
from ifnormal.data import load_setup
from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.synthetic import MadeOutliers, made_outliers
from ifnormal.data.synthetic.quality import OutlierQuality, by_kind, outlier_quality
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import in_batches
from ifnormal.detectors.outlier_rating import stage_means
from ifnormal.evaluation.auroc import auroc

RESULTS = Path(__file__).parent / "results" / "synthetic_outliers.json"
# Setup, steps and batch size of "bce": fewer than elsewhere, so that the study stays short.
SETS = {
    "mvtec_bottle": ("mvtec/bottle", 100, 32),
    "mvtec_screw": ("mvtec/screw", 100, 32),
    "gtsrb_500": ("gtsrb/speed-limits", 300, 64),
}
OUTLIERS = 1000
OF_A_KIND = 40
STRENGTH = 1e-3  # inverse, of the L2 penalty of the head


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of the Parquet sets")
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    parser.add_argument("--seeds", type=lambda text: text.split(","), default=["0", "1", "2"])
    parser.add_argument("--detectors", type=lambda text: text.split(","), default=["head", "bce"])
    parser.add_argument("--pictures", type=Path, help="folder for the best and worst outliers")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in options.sets:
        for seed in map(int, options.seeds):
            study = Study(name, seed, options.data)
            if options.pictures:
                study.draw(options.pictures)
            for row in study.rows(_rows(options.out), options.detectors):
                print(row, flush=True)
                write_json(
                    options.out, {"rows": [*_rows(options.out), row], "provenance": provenance()}
                )


class Study:
    """The outliers of one set and seed, rated."""

    def __init__(self, name: str, seed: int, data: Path) -> None:
        self.name, self.seed = name, seed
        card, steps, batch = SETS[name]
        configs = configs_of(BenchRun("small-data", card, "bce", seed, budget="small"), data)
        setup = load_setup(replace(configs.data, test_images=400, outliers=OUTLIERS), seed)
        self.setup: AnomalySetup = few_normal(setup, seed) if name == "gtsrb_500" else setup
        self.config: DetectorConfig = replace(configs.detector, steps=steps, batch_size=batch)
        self.made: MadeOutliers = made_outliers(self.setup.train_normal, OUTLIERS, seed)
        features = stage_means()
        self.normal, self.outliers, self.test_normal, self.anomalies = (
            in_batches(features, images)
            for images in (
                self.setup.train_normal,
                self.made.images,
                self.setup.test_normal,
                self.setup.test_anomalies,
            )
        )
        self.quality: OutlierQuality = outlier_quality(
            self.normal, self.outliers, self.made.sources
        )

    def rows(self, known: list[dict[str, Any]], detectors: list[str]) -> Iterator[dict[str, Any]]:
        """Those rows that are not known yet."""
        key = {"set": self.name, "seed": self.seed}
        if not any((key | {"row": "quality"}).items() <= row.items() for row in known):
            yield key | {"row": "quality"} | self.of_quality()
        for detector in detectors:
            for arm, chosen in self.arms().items():
                this = key | {"row": "training", "detector": detector, "outliers": arm}
                if (detector, arm) == ("bce", "useless"):
                    continue
                if not any(this.items() <= row.items() for row in known):
                    found = self.head(chosen) if detector == "head" else self.bce(chosen)
                    yield this | {"count": int(chosen.sum()), "auroc": round(found, 2)}

    def arms(self) -> dict[str, Tensor]:
        """Which outliers (M,) a detector is trained with."""
        useless = self.quality.is_useless
        order = torch.randperm(OUTLIERS, generator=generator(self.seed, "random outliers"))
        random = torch.zeros(OUTLIERS, dtype=torch.bool)
        random[order[: int((~useless).sum())]] = True
        every = torch.ones(OUTLIERS, dtype=torch.bool)
        return {"all": every, "useful": ~useless, "random": random, "useless": useless}

    def of_quality(self) -> dict[str, Any]:
        """Shares of useless outliers, the same of real images, and the kinds of defects."""
        kinds = by_kind(self.quality, self.made.kinds)
        for kind, facts in kinds.items():
            of_kind = torch.tensor([name == kind for name in self.made.kinds])
            if facts["rated"] >= OF_A_KIND:
                some = of_kind & (of_kind.cumsum(0) <= OF_A_KIND)
                facts["head_auroc"] = round(self.head(some), 2)
        both = [(k["posterior"], k["head_auroc"]) for k in kinds.values() if "head_auroc" in k]
        return {
            "made": _shares(self.quality),
            "real_anomalies": _shares(outlier_quality(self.normal, self.anomalies)),
            "test_normal": _shares(outlier_quality(self.normal, self.test_normal)),
            "kinds": kinds,
            "spearman": round(float(spearmanr(*zip(*both, strict=True))[0]), 2),
        }

    def head(self, chosen: Tensor) -> float:
        """AuROC of a logistic regression of normal images against the chosen outliers."""
        scale = self.normal.std(0).clamp_min(1e-6)
        both = torch.cat([self.normal, self.outliers[chosen]]) / scale
        labels = [0] * len(self.normal) + [1] * int(chosen.sum())
        model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000)
        model.fit(both.numpy(), labels)
        normal, odd = (
            torch.from_numpy(model.predict_proba((features / scale).numpy())[:, 1])
            for features in (self.test_normal, self.anomalies)
        )
        return auroc(normal, odd)

    def bce(self, chosen: Tensor) -> float:
        """AuROC of the built-in detector, trained from scratch."""
        setup = replace(self.setup, outliers=self.made.images[chosen], outlier_masks=None)
        detector = train_detector(setup, self.config, self.seed)
        normal, odd = (
            in_batches(detector, images) for images in (setup.test_normal, setup.test_anomalies)
        )
        return auroc(normal, odd)

    def draw(self, folder: Path) -> None:
        """The outliers with the highest and lowest EAP, and the useless ones of either kind."""
        order = self.quality.posterior.argsort(descending=True)
        groups = {
            "best": order[:12],
            "like normal": self.quality.is_indistinguishable.nonzero().flatten()[:12],
            "unrealistic": self.quality.is_unrealistic.nonzero().flatten()[:12],
        }
        columns = {name: self.made.images[rows] for name, rows in groups.items() if len(rows) == 12}
        folder.mkdir(parents=True, exist_ok=True)
        write_columns(folder / f"{self.name}-{self.seed}.png", columns)


def _shares(quality: OutlierQuality) -> dict[str, float]:
    return {
        "indistinguishable": round(100 * float(quality.is_indistinguishable.float().mean()), 1),
        "unrealistic": round(100 * float(quality.is_unrealistic.float().mean()), 1),
        "posterior": round(float(quality.posterior.mean()), 3),
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(read_json(path)["rows"]) if path.exists() else []


if __name__ == "__main__":
    main()
