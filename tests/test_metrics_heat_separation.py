import pytest
import torch

from ifnormal.benchmarks.heat_separation import heat_amount_auroc, heat_pattern_auroc


def _spots(count, row, column, rng):
    heat = 0.05 * torch.rand(count, 16, 16, generator=rng)
    heat[:, row, column] = 1
    return heat


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def test_heat_in_different_places_is_told_apart(rng):
    assert heat_pattern_auroc(_spots(40, 2, 2, rng), _spots(40, 12, 9, rng), 0) == 100


def test_heat_in_the_same_place_is_not(rng):
    found = heat_pattern_auroc(_spots(200, 2, 2, rng), _spots(200, 2, 2, rng), 0)
    assert 35 < found < 65


def test_more_heat_of_the_same_pattern_is_seen_by_the_amount_alone(rng):
    hot, cold = 3 * torch.rand(400, 8, 8, generator=rng), torch.rand(400, 8, 8, generator=rng)
    assert heat_amount_auroc(hot, cold) == 100
    assert 35 < heat_pattern_auroc(hot, cold, 0) < 65


def test_no_heat_at_all_is_no_difference():
    assert heat_amount_auroc(torch.zeros(8, 4, 4), torch.zeros(8, 4, 4)) == 50
    assert heat_pattern_auroc(torch.zeros(8, 4, 4), torch.zeros(8, 4, 4), 0) == 50


def test_pairs_have_to_fit():
    with pytest.raises(ValueError, match=r"expected two \(N, H, W\)"):
        heat_pattern_auroc(torch.zeros(8, 4, 4), torch.zeros(7, 4, 4), 0)
