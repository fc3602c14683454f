import pytest
import torch
from scipy.stats import spearmanr
from torch import Generator, tensor

from ifnormal.evaluation.monotonicity import monotonicity

ALPHAS = tensor([1.0, 0.6, 0.3, 0.0])


def one(*scores):
    return monotonicity(ALPHAS, tensor([[scores]]))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.9, 0.8, 0.2, 0.1), 1),
        ((1.0, 0.99, 0.98, 0.0), 1),  # ranks, not sizes
        ((0.1, 0.2, 0.8, 0.9), -1),
        ((0.9, 0.8, 0.1, 0.2), 0.8),  # 1 - 6 · (0 + 0 + 1 + 1) / (4 · 15)
        ((0.5, 0.5, 0.5, 0.5), 0),
        ((0.9, 0.9, 0.1, 0.1), 4 / 20**0.5),  # ranks 1.5, 1.5, 3.5, 3.5
    ],
)
def test_by_hand(scores, expected):
    assert one(*scores) == pytest.approx(expected)


def test_the_mean_over_anomalies_and_concepts():
    falls, rises, stays = [0.9, 0.6, 0.4, 0.1], [0.1, 0.4, 0.6, 0.9], [0.3] * 4
    scores = tensor([[falls, falls, falls], [falls, rises, stays]])
    assert monotonicity(ALPHAS, scores) == pytest.approx(3 / 6)


def test_as_scipy_has_it():
    rng = Generator().manual_seed(0)
    scores = torch.randint(5, (4, 2, 6), generator=rng) / 5
    targets = torch.linspace(1, 0, 6)
    each = [float(spearmanr(targets, way).statistic) for way in scores.flatten(0, 1)]
    assert monotonicity(targets, scores) == pytest.approx(sum(each) / len(each))


@pytest.mark.parametrize(
    ("targets", "scores"),
    [(ALPHAS, torch.zeros(0, 2, 4)), (torch.zeros(1), torch.zeros(3, 2, 1))],
)
def test_no_way_no_figure(targets, scores):
    assert monotonicity(targets, scores) is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected"):
        monotonicity(ALPHAS, torch.zeros(2, 1, 3))
