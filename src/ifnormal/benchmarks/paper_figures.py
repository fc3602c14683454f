"""The figures of the paper, to show beside ours. Loads no torch.

Source: Liznerski, Varshneya et al., "Reimagining Anomalies: What If Anomalies Were Normal?", AAAI
2026, arXiv 2402.14469, tables 1 and 2: mean over setups and seeds. Their detectors see other copies
of the data and their FID other features, so that only orders of magnitude of FID_N compare.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "Liznerski, Varshneya et al., AAAI 2026 (arXiv 2402.14469)"

Row = tuple[str, str]

# (paper's group, family) -> objective -> %.
NORMALITY_AUROC: Mapping[Row, Mapping[str, float]] = {
    ("single", "mnist"): {"bce": 72.0, "hsc": 80.8, "dsvdd": 75.2},
    ("single", "cifar10"): {"bce": 47.5, "hsc": 49.9, "dsvdd": 54.6},
    ("single", "inn"): {"bce": 69.1, "hsc": 67.9},
    ("several", "cmnist"): {"bce": 55.6, "hsc": 55.8, "dsvdd": 61.5},
    ("several", "mnist"): {"bce": 78.1, "hsc": 82.1, "dsvdd": 73.4},
    ("several", "cifar10"): {"bce": 49.0, "hsc": 44.4, "dsvdd": 50.7},
    ("several", "gtsrb"): {"bce": 50.2, "hsc": 48.6, "dsvdd": 53.1},
}
FID_N: Mapping[Row, Mapping[str, float]] = {
    ("single", "mnist"): {"bce": 43.0, "hsc": 68.0, "dsvdd": 100.0},
    ("single", "cifar10"): {"bce": 116.0, "hsc": 300.0, "dsvdd": 116.0},
    ("single", "inn"): {"bce": 85.0, "hsc": 85.4},
    ("several", "cmnist"): {"bce": 56.0, "hsc": 95.0, "dsvdd": 83.0},
    ("several", "mnist"): {"bce": 78.0, "hsc": 96.0, "dsvdd": 100.0},
    ("several", "cifar10"): {"bce": 103.0, "hsc": 254.0, "dsvdd": 110.0},
    ("several", "gtsrb"): {"bce": 110.0, "hsc": 95.0, "dsvdd": 131.0},
}
# The paper gives this figure for one detector on one setup only.
DETECTOR_AUROC: Mapping[Row, Mapping[str, float]] = {("several", "cmnist"): {"bce": 98.0}}

BY_KEY: Mapping[str, Mapping[Row, Mapping[str, float]]] = {
    "normality_auroc": NORMALITY_AUROC,
    "fid_n": FID_N,
    "detector_auroc": DETECTOR_AUROC,
}


def paper_figure(key: str, group: str, family: str, detector: str) -> float | None:
    """The figure in the paper; None if it has none."""
    return BY_KEY.get(key, {}).get((group, family), {}).get(detector)
