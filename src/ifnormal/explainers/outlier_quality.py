"""How many of the synthetic outliers of a fit are useless, and weights that prefer good ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ifnormal.common.errors import UserError
from ifnormal.config.fit import OutlierRating
from ifnormal.data.synthetic.quality import OutlierQuality, by_kind
from ifnormal.detectors.outlier_rating import rate_outliers
from ifnormal.explainers.fit_data import FitData

_REPORTED = 200


def rated(prepared: FitData, how: OutlierRating) -> FitData:
    """The same with what is known of the quality of its synthetic outliers.

    `facts["synthetic_outliers"]` gets `quality`: how many were rated, how many of these are
    indistinguishable and unrealistic, the mean EAP, and the kinds of defects; or, where they could
    not be rated, the reason. Outliers that a user gave stay as they are.

    Args:
        prepared: of any outliers.
        how: "report" rates up to 200 of them, "prefer" all, and draws them in proportion to EAP.
    """
    if how == "off" or prepared.sources is None:
        return prepared
    count = len(prepared.outliers) if how == "prefer" else min(_REPORTED, len(prepared.outliers))
    weights = None
    try:
        quality = rate_outliers(
            prepared.normal, prepared.outliers[:count], prepared.sources[:count]
        )
        facts = _facts(quality, prepared.kinds[:count])
        weights = quality.posterior.float() if how == "prefer" else None
    except UserError as error:
        facts = {"not_rated": str(error)}
    made = {**prepared.facts["synthetic_outliers"], "quality": facts}
    return replace(prepared, facts={**prepared.facts, "synthetic_outliers": made}, weights=weights)


def _facts(quality: OutlierQuality, kinds: tuple[str, ...]) -> dict[str, Any]:
    def count(which: torch.Tensor) -> int:
        return int(which.sum())

    return {
        "rated": len(kinds),
        "useless": count(quality.is_useless),
        "indistinguishable": count(quality.is_indistinguishable),
        "unrealistic": count(quality.is_unrealistic),
        "posterior": round(float(quality.posterior.mean()), 3),
        "kinds": by_kind(quality, kinds),
    }
