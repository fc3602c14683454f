import pytest
import torch
from torch import Generator

from ifnormal.evaluation.substitutability import substitutability

N, K = 24, 2


def pictures(seed, count, level):
    """(count, 1, 8, 8) uint8: noise around a level."""
    rng = Generator().manual_seed(seed)
    return (level + 20 * torch.randn(count, 1, 8, 8, generator=rng)).clamp(0, 255).to(torch.uint8)


def ask(level, steps=25):
    """Anomalies are bright and normal images dark; counterfactuals are of this level."""
    edits = pictures(1, N * K, level).view(N, K, 1, 8, 8)
    return substitutability(
        pictures(0, N, 180), edits, pictures(2, 60, 60), pictures(3, 30, 60), seed=0, steps=steps
    )


def test_good_substitutes_teach_as_much_as_real_images():
    found = ask(60)
    assert found.counterfactuals > 99
    assert found.real > 99


def test_what_only_differs_the_other_way_teaches_the_wrong_thing():
    found = ask(250)  # brighter still than anomalies: real normal images look more like these
    assert found.counterfactuals < 20
    assert found.real > 99


def test_the_seed_decides_and_the_global_one_is_left_alone():
    before = torch.get_rng_state()
    assert ask(140, steps=3) == ask(140, steps=3)
    assert torch.equal(before, torch.get_rng_state())


def test_counterfactuals_of_the_anomalies_that_are_asked_about_are_left_out():
    """Halves by the seed: with the other half's edits spoilt, nothing changes."""
    order = torch.randperm(N, generator=Generator().manual_seed(0))
    edits = pictures(1, N * K, 60).view(N, K, 1, 8, 8)
    spoilt = edits.clone()
    spoilt[order[N // 2 :]] = 255
    args = (pictures(2, 60, 60), pictures(3, 30, 60), 0, 3)
    anomalies = pictures(0, N, 180)
    assert substitutability(anomalies, edits, *args) == substitutability(anomalies, spoilt, *args)


@pytest.mark.parametrize(
    ("anomalies", "edits", "train", "test"),
    [(3, 3, 5, 5), (6, 5, 5, 5), (6, 6, 0, 5), (6, 6, 5, 0)],
)
def test_too_little_is_refused(anomalies, edits, train, test):
    images = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
    counterfactuals = torch.zeros(edits, K, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"expected|needs"):
        substitutability(images[:anomalies], counterfactuals, images[:train], images[:test], 0)
