"""Improvement: refinement and thrift applied to an explanation, with what they changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from ifnormal.config import RefineConfig, ThriftConfig
from ifnormal.evaluation.distance import mse
from ifnormal.evaluation.validity import validity
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.thrift import thrift
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.totals import REFINED, THRIFTY


def improve(
    explainer: Explainer,
    explanation: Explanation,
    refine_config: RefineConfig | None = None,
    thrift_config: ThriftConfig | None = None,
) -> Explanation:
    """Refine what the detector still flags, then revert what was not needed.

    Args:
        explainer: which made the explanation.
        explanation: stays as it is.
        refine_config: how to refine; None leaves it out.
        thrift_config: how to revert; None leaves it out.

    Returns:
        The explanation with other counterfactuals. Its `refined` says what was done to each of
        them, and `facts["improvement"]` what that gave. Traversals end at the new counterfactuals.
    """
    editor, detector = explainer.editor, explainer.detector
    anomalies, first = explanation.anomalies, explanation.counterfactuals
    edits, done, queries = first, {}, 0
    if refine_config is not None:
        refined = editor.refine(anomalies, edits, refine_config)
        edits, done[REFINED], queries = refined.images, refined.changed, refined.queries
    if thrift_config is not None:
        spared = thrift(editor.edit_each, detector, anomalies, edits, thrift_config)
        edits, done[THRIFTY] = spared.images, spared.changed
        queries += spared.queries
    improved, changed = _with_counterfactuals(explainer, explanation, edits)
    improved = replace(improved, refined=_notes(explanation, improved, changed, done))
    facts = {
        "refine": asdict(refine_config) if refine_config else None,
        "thrift": asdict(thrift_config) if thrift_config else None,
        "queries": queries,
        **_improvement_facts(explanation, improved),
    }
    return replace(improved, facts={**explanation.facts, "improvement": facts})


def _improvement_facts(before: Explanation, after: Explanation) -> dict[str, Any]:
    """What other counterfactuals of the same anomalies changed; JSON-compatible.

    Returns:
        A list of one figure for each concept under `changed` (how many), and two, {"before": …,
        "after": …}, under `validity` (in %) and `mse`.
    """
    different = (before.counterfactuals != after.counterfactuals).flatten(2).any(2)
    facts: dict[str, Any] = {"changed": different.sum(0).tolist()}
    if not len(before):
        return facts
    both = {"before": before, "after": after}
    facts["validity"] = {
        k: validity(e.calibrated_scores_after, e.calibrated_threshold) for k, e in both.items()
    }
    facts["mse"] = {k: mse(e.anomalies, e.counterfactuals) for k, e in both.items()}
    return facts


def _with_counterfactuals(
    explainer: Explainer, explanation: Explanation, edits: Tensor
) -> tuple[Explanation, Tensor]:
    """The explanation with other counterfactuals, scored anew, and which (N, K) are others."""
    changed = (edits != explanation.counterfactuals).flatten(2).any(2)
    rows = changed.any(1)
    if not rows.any():
        return explanation, changed
    odds, probabilities = explainer.assess(explanation.anomalies[rows], edits[rows])
    scores, own = odds.sigmoid(), explainer.detector.own_units(odds)
    # In another batch a score may differ by a last digit; the old edit stays if that decides.
    new = changed[rows] & (scores <= explanation.calibrated_threshold)
    changed[rows] = new
    replaced = explanation.with_counterfactuals(
        changed, edits[changed], own[new], scores[new], probabilities[new]
    )
    return replaced, changed


def _notes(
    before: Explanation, after: Explanation, changed: Tensor, done: Mapping[str, Tensor]
) -> tuple[tuple[Mapping[str, Any] | None, ...], ...]:
    """What was done to each counterfactual, for `Explanation.refined`."""

    def squared(explanation: Explanation, n: int, k: int) -> float:
        return mse(explanation.anomalies[n : n + 1], explanation.counterfactuals[n : n + 1])[k]

    def note(n: int, k: int) -> Mapping[str, Any] | None:
        if not changed[n, k]:
            return None
        return {
            "why": "; ".join(why for why, where in done.items() if where[n, k]),
            "score_before": float(before.own_scores_after[n, k]),
            "valid_before": bool(before.valid[n, k]),
            "mse_before": squared(before, n, k),
            "mse_after": squared(after, n, k),
        }

    return tuple(tuple(note(n, k) for k in range(before.concepts)) for n in range(len(before)))
