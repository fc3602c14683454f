"""Captions of images by their attributes, such as "cyan 7"."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ifnormal.data.setups.setup import AnomalySetup


def anomaly_names(setup: AnomalySetup) -> list[str]:
    """Names of the test anomalies: attributes and number, such as "red 4 (17)".

    They contain no slash, because reports show only what follows the last one.
    """
    known = setup.attributes.get("test_anomalies", {})
    order = list(reversed(list(known)))
    return [
        " ".join([*(setup.attribute_names[a][int(known[a][n])] for a in order), f"({n})"]).replace(
            "/", "\N{DIVISION SLASH}"
        )
        for n in range(len(setup.test_anomalies))
    ]


def judge_captions(predicted: Mapping[str, Tensor], setup: AnomalySetup) -> list[list[str]]:
    """Captions of N x K images by what a judge predicts.

    Args:
        predicted: attribute -> (N, K) int64 values; a negative one is junk.
        setup: names the values.
    """

    def word(name: str, value: int) -> str:
        return setup.attribute_names[name][value] if value >= 0 else f"unclear {name}"

    rows, columns = next(iter(predicted.values())).shape
    order = list(reversed(list(setup.attribute_names)))
    return [
        [" ".join(word(name, int(predicted[name][n, k])) for name in order) for k in range(columns)]
        for n in range(rows)
    ]
