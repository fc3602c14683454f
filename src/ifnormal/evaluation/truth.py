"""Truth: does a counterfactual really show something normal, by a judge the detector never met?

AuROC and validity ask the detector, which a generator can fool. These figures ask an
`AttributeJudge` what each counterfactual shows and compare it with what the anomaly truly shows.
They are not in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

from ifnormal.evaluation.metric import Metric

TRULY_NORMAL = Metric(
    key="truly_normal",
    title="truly normal",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="How many counterfactuals of a concept an independent judge, which has never met the "
    "detector, calls normal: a clear image with a normal attribute.",
    source="ifnormal; not in the paper",
)
MINIMAL_EDIT = Metric(
    key="minimal_edit",
    title="minimal edit",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="How many counterfactuals of a concept changed exactly one attribute of the anomaly, "
    "to a clear value, and kept the others, says the judge.",
    source="ifnormal; not in the paper",
)
TWO_REASONS = Metric(
    key="two_reasons",
    title="two reasons",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="For how many anomalies the counterfactuals show two different ways to be normal: one "
    "by colour, another by digit alone.",
    source="ifnormal; not in the paper",
)
TWO_WAYS = Metric(
    key="two_ways",
    title="two minimal ways",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="As two reasons, and each of the two counterfactuals kept what need not change: one "
    "became the normal digit in its own colour, another the normal colour with its own digit.",
    source="ifnormal; not in the paper",
)
DISTINCT_NORMALS = Metric(
    key="distinct_normals",
    title="different normal classes",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="Where several classes are normal: for how many anomalies the counterfactuals show at "
    "least two of them, says the judge.",
    source="ifnormal; not in the paper",
)
JUDGE_ACCURACY = Metric(
    key="judge_accuracy",
    title="judge accuracy",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="How often the judge names what test images truly show: as far as its verdicts on "
    "counterfactuals can be trusted.",
    source="ifnormal; not in the paper",
)


@dataclass(frozen=True)
class Truth:
    """What the judge says of N anomalies with K counterfactuals each; percentages in [0, 100].

    Attributes:
        is_normal: (N, K) bool, the counterfactual has a normal attribute and no junk attribute.
        is_minimal: (N, K) bool, exactly one attribute changed, and none to junk.
        truly_normal: share of `is_normal`, one figure a concept.
        minimal_edit: share of `is_minimal`, one figure a concept; None where there is only one
            attribute, which every edit has to change.
        two_reasons: share of anomalies with two reasons, see `truth`; None where only one
            attribute can make an image normal.
        two_ways: share of anomalies with two minimal ways, see `truth`; None likewise.
        distinct_normals: share of anomalies whose counterfactuals show at least two normal values
            of one attribute; None where none has two.
    """

    is_normal: Tensor
    is_minimal: Tensor
    truly_normal: list[float]
    minimal_edit: list[float] | None
    two_reasons: float | None
    two_ways: float | None
    distinct_normals: float | None


def truth(
    predicted: Mapping[str, Tensor],
    true: Mapping[str, Tensor],
    normal_attributes: Mapping[str, tuple[int, ...]],
) -> Truth:
    """Compare what counterfactuals show with what their anomalies show; junk is never normal.

    Two reasons (say of a normal digit one and a normal colour cyan, in this order): some
    counterfactual is cyan, whatever its digit, and another is a one that is not cyan. Two ways:
    some counterfactual is a one in the anomaly's colour, another is cyan and has the anomaly's
    digit.

    Args:
        predicted: attribute -> (N, K) values the judge gave; negative is junk.
        true: attribute -> (N,) true values of the anomalies.
        normal_attributes: attribute -> the values that by themselves make an image normal. The
            order matters to two reasons: the counterfactual that is normal by the earlier
            attribute must not be so by the later one.

    Raises:
        ValueError: attributes or shapes do not fit together, or N or K is 0.
    """
    import torch

    _check(predicted, true, normal_attributes)
    has = _has(predicted, normal_attributes)
    clear = _clear(predicted)
    kept = {name: predicted[name] == true[name][:, None] for name in predicted}
    is_normal = _any(has.values())
    changes = torch.stack([~same for same in kept.values()]).sum(0)
    is_minimal = clear & (changes == 1)
    several = len(normal_attributes) > 1
    return Truth(
        is_normal=is_normal,
        is_minimal=is_minimal,
        truly_normal=(100 * is_normal.double().mean(0)).tolist(),
        minimal_edit=(100 * is_minimal.double().mean(0)).tolist() if len(predicted) > 1 else None,
        two_reasons=_share(_two_reasons(has)) if several else None,
        two_ways=_share(_two_ways(has, kept)) if several else None,
        distinct_normals=_distinct_normals(has, predicted, normal_attributes),
    )


def normal_share(
    predicted: Mapping[str, Tensor], normal_attributes: Mapping[str, tuple[int, ...]]
) -> float:
    """Share in % of images that show a normal attribute and no junk, by the judge's values.

    Of real normal images it is what `truly_normal` can reach: the judge errs there as well.

    Args:
        predicted: attribute -> (N,) values the judge gave; negative is junk.
        normal_attributes: as for `truth`.
    """
    return _share(_any(_has(predicted, normal_attributes).values()))


def _clear(predicted: Mapping[str, Tensor]) -> Tensor:
    import torch

    return torch.stack([values >= 0 for values in predicted.values()]).all(0)


def _has(
    predicted: Mapping[str, Tensor], normal: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """For each attribute that can make an image normal, where it does."""
    import torch

    clear = _clear(predicted)
    return {
        name: clear & torch.isin(predicted[name], torch.tensor(values))
        for name, values in normal.items()
    }


def _two_reasons(has: Mapping[str, Tensor]) -> Tensor:
    """(N,) bool of (N, K) each."""
    return _any(
        _in_different(has[first] & ~has[second], has[second])
        for first, second in combinations(has, 2)
    )


def _two_ways(has: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> Tensor:
    """(N,) bool of (N, K) each."""
    import torch

    def alone(own: str) -> Tensor:
        return torch.stack([has[own], *(kept[name] for name in kept if name != own)]).all(0)

    return _any(
        _in_different(alone(first), alone(second)) for first, second in permutations(has, 2)
    )


def _distinct_normals(
    has: Mapping[str, Tensor],
    predicted: Mapping[str, Tensor],
    normal: Mapping[str, tuple[int, ...]],
) -> float | None:
    """Share of rows with two different normal values of one attribute."""
    import torch

    found = []
    for name, values in normal.items():
        if len(set(values)) > 1:
            shown = [(has[name] & (predicted[name] == value)).any(1) for value in set(values)]
            found.append(torch.stack(shown).sum(0) > 1)
    return _share(_any(found)) if found else None


def _any(conditions: Iterable[Tensor]) -> Tensor:
    import torch

    return torch.stack(list(conditions)).any(0)


def _share(condition: Tensor) -> float:
    return 100 * condition.double().mean().item()


def _in_different(first: Tensor, second: Tensor) -> Tensor:
    """(N,) bool: `first` holds in one counterfactual and `second` in another, of (N, K) each."""
    import torch

    pairs = first[:, :, None] & second[:, None, :]
    return (pairs & ~torch.eye(first.shape[1], dtype=torch.bool)).flatten(1).any(1)


def _check(
    predicted: Mapping[str, Tensor],
    true: Mapping[str, Tensor],
    normal: Mapping[str, tuple[int, ...]],
) -> None:
    shapes = {tuple(values.shape) for values in predicted.values()}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2 or 0 in shape:
        raise ValueError("predicted needs attributes of one shape (N, K), neither of them 0")
    for name in predicted:
        if name not in true or tuple(true[name].shape) != shape[:1]:
            raise ValueError(f"the true values of {name} must be ({shape[0]},), one an anomaly")
    if not normal or not set(normal) <= set(predicted):
        raise ValueError(f"normal_attributes {set(normal)} must be among {set(predicted)}")
    for name, values in normal.items():
        if not isinstance(values, tuple) or not values:
            raise ValueError(f"the normal values of {name} must be a tuple, got {values!r}")
