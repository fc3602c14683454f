"""Figures of a planted run: what counterfactuals change, by how much, and where heat is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ifnormal.benchmarks.planted import verdict
from ifnormal.benchmarks.planted.analytic import AnalyticDetector
from ifnormal.benchmarks.planted.boundary import least_edits
from ifnormal.benchmarks.planted.kinds import PlantedKind
from ifnormal.benchmarks.planted.material import Planted
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import Detector, in_batches, log_odds_of
from ifnormal.evaluation.auroc import auroc
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.thrift import thrift
from ifnormal.explanation.explanation import Explanation


def edit_figures(
    kind: PlantedKind,
    planted: Planted,
    detector: Detector,
    explainer: Explainer,
    explanation: Explanation,
    judge: AttributeJudge | None,
) -> dict[str, Any]:
    """Whether counterfactuals changed the reason and nothing else, in %; None where unknown."""
    setup, edits = planted.setup, explanation.counterfactuals
    normal, anomalous = (
        in_batches(detector, images) for images in (setup.test_normal, setup.test_anomalies)
    )
    thrifty = thrift(explainer.editor.edit_each, detector, setup.test_anomalies, edits).images
    exposed, after_thrift = (
        _percents(_exposed(kind, planted, detector, images, judge)) for images in (edits, thrifty)
    )
    figures: dict[str, Any] = {
        "anomalies": len(explanation),
        "detector_auroc": auroc(normal, anomalous),
        "validity": _percent(explanation.valid),
        "exposed": exposed,
        "exposed_thrift": after_thrift,
        "reason_holds": None,
        "edit_inside": None,
        "region_share": None,
    }
    if planted.ideal is not None:
        figures["reason_holds"] = _percent(
            in_batches(detector, planted.ideal) <= detector.threshold
        )
    if (region := planted.region) is not None:
        change = (edits.float() - explanation.anomalies[:, None]).abs().sum((1, 2))
        inside = _mean(verdict.share_inside(change, region))
        figures["edit_inside"] = None if inside is None else 100 * inside
        figures["region_share"] = _percent(region)
    return figures


def heat_figures(heat: Mapping[str, Tensor], region: Tensor | None) -> dict[str, Any]:
    """How many times the heat of chance lies in the planted region, for each heatmap.

    Args:
        heat: name -> (N, H, W) heat, at least 0.
        region: (N, H, W) bool; None if the reason has no region.
    """
    return {
        f"heat_{name}": None if region is None else _mean(verdict.times_chance(weights, region))
        for name, weights in heat.items()
    }


def size_ratios(
    detector: AnalyticDetector, explainer: Explainer, explanation: Explanation, least: Tensor
) -> dict[str, Any]:
    """L1 sizes of accepted edits, divided by that of the smallest edit that reaches the threshold.

    `ratio_own_value` divides by the smallest edit that reaches the counterfactual's own value.

    Args:
        detector: knows the smallest edit.
        explainer: makes the edits.
        explanation: of counterfactuals for α = 0.
        least: (N, K, C, H, W) uint8, edits at the threshold without faint changes.
    """
    before, edits = explanation.anomalies, explanation.counterfactuals
    smallest = detector.optimum(to_float(before), detector.level)
    thrifty = thrift(explainer.editor.edit_each, detector, before, edits).images
    plain = least_edits(explainer, before, edits)

    def ratio(after: Tensor) -> Tensor:
        accepted = in_batches(detector, after.flatten(0, 1)) <= detector.threshold
        return (verdict.size(before, after) / smallest[:, None])[accepted.view(after.shape[:2])]

    reached = detector.value(to_float(edits.flatten(0, 1))).view(edits.shape[:2])
    own = torch.stack([detector.optimum(to_float(before), value) for value in reached.T], 1)
    at_threshold = ratio(least)
    return {
        "ratio": _number(ratio(edits).mean()),
        "ratio_thrift": _number(ratio(thrifty).mean()),
        "ratio_own_value": _number((verdict.size(before, edits) / own.clamp_min(1e-6)).median()),
        "ratio_least": _number(ratio(plain).mean()),
        "ratio_least_bare": _number(at_threshold.mean()),
        "ratio_least_bare_p90": _number(at_threshold.quantile(0.9)) if len(at_threshold) else None,
    }


def _exposed(
    kind: PlantedKind,
    planted: Planted,
    detector: Detector,
    edits: Tensor,
    judge: AttributeJudge | None,
) -> Tensor | None:
    """(N, K) bool: accepted, and all criteria of the kind hold; None if it has none."""
    if not kind.criteria:
        return None
    setup, before = planted.setup, planted.setup.test_anomalies
    found = log_odds_of(detector, edits.flatten(0, 1)).sigmoid() <= detector.threshold
    found = found.view(edits.shape[:2])
    if "judge" in kind.criteria:
        assert judge is not None
        seen, true = judge.predict(edits), setup.attributes["test_anomalies"]
        found &= verdict.changed_only_one(seen, true, setup.normal_attributes)
    if "outside" in kind.criteria:
        assert planted.region is not None
        found &= verdict.untouched(before, edits, planted.region)
    if "inside" in kind.criteria:
        assert planted.region is not None
        assert planted.ideal is not None
        found &= verdict.undone(before, edits, planted.region, planted.ideal)
    return found


def _mean(values: Tensor) -> float | None:
    """Mean of the values that are not NaN."""
    known = values[~values.isnan()]
    return known.mean().item() if len(known) else None


def _percent(which: Tensor) -> float:
    return 100 * which.double().mean().item()


def _percents(which: Tensor | None) -> list[float] | None:
    """One figure per concept."""
    return None if which is None else (100 * which.double().mean(0)).tolist()


def _number(value: Tensor) -> float | None:
    return value.item() if bool(torch.isfinite(value)) else None
