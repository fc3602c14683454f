import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, tensor

from ifnormal.evaluation.distance import map_distance, mse, perceptual_distance


def test_mse_is_of_pixels_between_0_and_1():
    black = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    white, grey = black + 255, black + 51
    assert mse(black, torch.stack([white, black, grey], 1)) == pytest.approx([1, 0, 0.04])


def test_one_changed_pixel_counts_by_its_share():
    anomalies = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    changed = anomalies[:, None].clone()
    changed[0, 0, 0, 0, 0] = 255
    assert mse(anomalies, changed) == pytest.approx([1 / 12])


def test_map_distance_by_hand():
    # One place, two channels: the same direction, a right angle, and opposite directions.
    first = tensor([[3.0, 0.0], [3.0, 0.0], [1.0, 1.0]])[..., None, None]
    second = tensor([[5.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])[..., None, None]
    assert map_distance([first], [second]).tolist() == pytest.approx([0, 2, 4], abs=1e-6)
    assert map_distance([first, first], [second, first]).tolist() == pytest.approx([0, 1, 2])


def maps(images):
    values = images.float()
    return [values, values[..., ::2, ::2]]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999))
def test_perceptual_distance_is_symmetric_bounded_and_zero_with_itself(seed):
    rng = Generator().manual_seed(seed)
    a, b = torch.randint(0, 256, (2, 3, 3, 4, 4), generator=rng).to(torch.uint8)
    there, back = (perceptual_distance(maps, x, y[:, None])[0] for x, y in ((a, b), (b, a)))
    assert there == pytest.approx(back)
    assert 0 <= there <= 2
    assert perceptual_distance(maps, a, a[:, None])[0] == 0


def test_perceptual_distance_has_one_figure_a_concept():
    red = torch.zeros(300, 3, 4, 4, dtype=torch.uint8)
    red[:, 0] = 200
    counterfactuals = torch.stack([red, red.roll(1, 1), red // 2], 1)
    assert perceptual_distance(maps, red, counterfactuals) == pytest.approx([0, 2, 0])


@pytest.mark.parametrize(
    ("anomalies", "counterfactuals"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 3, 4, 4)),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(3, 1, 3, 4, 4).byte()),
        (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2, 3, 4, 4).byte()),
        (torch.zeros(0, 3, 4, 4).byte(), torch.zeros(0, 1, 3, 4, 4).byte()),
    ],
)
def test_distances_refuse_other_shapes_and_types(anomalies, counterfactuals):
    for measure in (mse, lambda a, c: perceptual_distance(maps, a, c)):
        with pytest.raises(ValueError, match="expected"):
            measure(anomalies, counterfactuals)
