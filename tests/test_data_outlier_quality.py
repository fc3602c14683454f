"""The expected anomaly posterior: by hand, its properties, and what is useless."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ifnormal.common.errors import UserError
from ifnormal.data.synthetic.quality import (
    CONTAMINATION,
    OutlierQuality,
    anomaly_probability,
    by_kind,
    expected_anomaly_posterior,
    outlier_quality,
    relative_density,
)


def posterior(probability: float, density: float) -> float:
    found = expected_anomaly_posterior(torch.tensor([probability]), torch.tensor([density]))
    return float(found)


def test_posterior_by_hand() -> None:
    assert posterior(1.0, 0.0) == pytest.approx(0.05), "without data near it, the prior"
    assert posterior(1.0, 1.0) == pytest.approx(1.05 / 2)
    assert posterior(0.0, 1.0) == pytest.approx(0.05 / 2)
    assert posterior(0.5, 3.0) == pytest.approx(1.55 / 4)
    assert posterior(CONTAMINATION, 7.0) == pytest.approx(CONTAMINATION)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 100))
def test_posterior_is_a_probability_that_grows_with_that_of_an_anomaly(
    one: float, other: float, density: float
) -> None:
    low, high = (posterior(p, density) for p in sorted((one, other)))
    assert 0 <= low <= high + 1e-6
    assert high <= 1


@given(st.floats(0.0625, 1), st.floats(0, 100), st.floats(0, 100))
def test_the_nearer_to_normal_images_a_sure_anomaly_is_the_better(
    probability: float, one: float, other: float
) -> None:
    far, near = (posterior(probability, density) for density in sorted((one, other)))
    assert far <= near + 1e-6


def test_probability_by_hand() -> None:
    normal = torch.arange(1.0, 21.0)
    found = anomaly_probability(torch.tensor([0.0, 20.5]), normal)
    # Of 20, more than 19 must be below: p^20, with p of 1 / 22 and of 21 / 22.
    assert found.tolist() == pytest.approx([(1 / 22) ** 20, (21 / 22) ** 20])


def test_probability_of_normal_images_is_mostly_low() -> None:
    normal = torch.rand(400, generator=torch.Generator().manual_seed(0))
    found = anomaly_probability(normal, normal)
    assert float((found > 0.5).float().mean()) == pytest.approx(CONTAMINATION, abs=0.01)


def test_density_is_one_where_normal_images_are_and_falls_with_distance() -> None:
    normal = torch.tensor([1.0, 2.0, 3.0])
    found = relative_density(torch.tensor([2.0, 4.0, 20.0]), normal)
    assert found.tolist() == pytest.approx([1.0, 0.5, 0.1])
    assert float(relative_density(torch.tensor([1.0]), torch.zeros(3))) < 1e-6


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


def test_normal_images_again_and_noise_are_useless() -> None:
    normal = images(200)
    shifts = torch.tensor([0.0, 5.0, 500.0])
    again = torch.cat([images(50, seed=1) + shift for shift in shifts])
    quality = outlier_quality(normal, again)
    same, apart, absurd = quality.posterior.view(3, 50).mean(1)
    assert apart > max(same, absurd)
    assert quality.is_indistinguishable.view(3, 50).float().mean(1).tolist() == pytest.approx(
        [0.9, 0.0, 0.0], abs=0.1
    )
    assert quality.is_unrealistic.view(3, 50)[2].all()
    assert (quality.is_useless == quality.is_indistinguishable | quality.is_unrealistic).all()
    assert (quality.posterior[quality.is_indistinguishable] <= CONTAMINATION).all()


def test_an_outlier_is_not_compared_with_its_source() -> None:
    apart = torch.arange(30.0)[:, None].repeat(1, 2)
    spoilt = apart[:1].clone()
    alone = outlier_quality(apart, spoilt)
    without = outlier_quality(apart, spoilt, torch.tensor([0]))
    assert float(without.density) < float(alone.density)
    unknown = outlier_quality(apart, spoilt, torch.tensor([-1]))
    assert float(unknown.density) == float(alone.density)


def test_ratings_do_not_depend_on_the_scale_of_a_feature() -> None:
    scale = torch.tensor([1.0, 10.0, 0.1, 3.0])
    first = outlier_quality(images(60), images(9, 1) + 2)
    second = outlier_quality(images(60) * scale, (images(9, 1) + 2) * scale)
    assert torch.allclose(first.posterior, second.posterior, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_features_have_ratings(value: float) -> None:
    quality = outlier_quality(torch.full((30, 3), value), torch.full((4, 3), value))
    assert quality.is_indistinguishable.all()
    assert torch.isfinite(quality.posterior).all()


def test_too_few_normal_images_are_refused() -> None:
    with pytest.raises(UserError, match="at least 20 normal images, these are 19"):
        outlier_quality(images(19), images(3))


def test_kinds_are_listed_best_first() -> None:
    quality = OutlierQuality(
        torch.tensor([0.1, 0.3, 0.5]), torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 0.1, 1.0])
    )
    assert by_kind(quality, ("scar", "scar", "blob")) == {
        "blob": {"rated": 1, "useless": 0, "posterior": 0.5},
        "scar": {"rated": 2, "useless": 2, "posterior": 0.2},
    }
    assert list(by_kind(quality, ("scar", "scar", "blob"))) == ["blob", "scar"]
