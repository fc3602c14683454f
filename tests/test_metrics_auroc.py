import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from ifnormal.evaluation.auroc import auroc, normality_auroc
from ifnormal.evaluation.validity import validity

# Multiples of 1/16 tie often and have exact complements.
scores = st.lists(st.integers(0, 16).map(lambda i: i / 16), min_size=1, max_size=12).map(tensor)


@pytest.mark.parametrize(
    ("negative", "positive", "expected"),
    [
        ([0.1, 0.2], [0.8, 0.9], 100.0),
        ([0.8, 0.9], [0.1, 0.2], 0.0),
        ([0.5, 0.5], [0.5], 50.0),
        ([0.1, 0.5], [0.5, 0.9], 87.5),  # three pairs won, one tied
        ([0.3], [0.1, 0.2, 0.9], 100 / 3),
    ],
)
def test_auroc_counts_pairs(negative, positive, expected):
    assert auroc(tensor(negative), tensor(positive)) == pytest.approx(expected, abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(scores, scores)
def test_auroc_is_the_share_of_pairs_won(negative, positive):
    pairs = positive[:, None] - negative[None]
    expected = 100 * ((pairs > 0).float() + (pairs == 0).float() / 2).mean().item()
    assert auroc(negative, positive) == pytest.approx(expected, abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(scores, scores)
def test_auroc_of_swapped_sides_is_the_complement(negative, positive):
    swapped = auroc(positive, negative)
    assert auroc(negative, positive) == pytest.approx(100 - swapped, abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(scores, scores)
def test_auroc_depends_on_order_alone(negative, positive):
    squeezed = auroc(0.25 + negative / 2, 0.25 + positive / 2)
    assert auroc(negative, positive) == pytest.approx(squeezed, abs=1e-3)


def test_auroc_keeps_the_order_of_scores_near_one():
    assert auroc(tensor([0.9999998]), tensor([0.9999999])) == 100


@pytest.mark.parametrize("bad", [[1.5], [-0.1], [float("nan")], []])
def test_auroc_refuses_what_is_no_score(bad):
    with pytest.raises(ValueError, match="auroc needs"):
        auroc(tensor([0.5]), tensor(bad))


def test_normality_auroc_has_one_figure_a_concept():
    normal = tensor([0.1, 0.2])
    counterfactuals = tensor([[0.0, 0.9], [0.05, 0.8]])
    assert normality_auroc(normal, counterfactuals) == [0.0, 100.0]


def test_validity_counts_the_threshold_itself_as_valid():
    after = tensor([[0.5, 0.6], [0.4, 0.5], [0.9, 0.9], [0.1, 0.7]])
    assert validity(after, 0.5) == [75.0, 25.0]


@pytest.mark.parametrize("shape", [(0, 2), (3,)])
def test_validity_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="validity needs"):
        validity(torch.zeros(shape), 0.5)
