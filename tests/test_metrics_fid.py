import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, tensor

from ifnormal.evaluation.fid import fid, fid_n


def features(seed, count=20, size=4):
    return torch.randn(count, size, generator=Generator().manual_seed(seed))


# Means 0 and unit-free spread: variance 2 in one direction with the divisor n - 1.
PLUS_MINUS = tensor([[1.0, 0.0], [-1.0, 0.0]])


def test_a_shift_costs_its_square():
    a = features(0)
    assert fid(a, a + tensor([3.0, 0, 4.0, 0])) == pytest.approx(25, rel=1e-5)


def test_a_wider_gaussian_costs_the_square_of_the_difference_of_deviations():
    # Deviations √2 and 3√2: (3√2 − √2)² = 8.
    assert fid(PLUS_MINUS, 3 * PLUS_MINUS) == pytest.approx(8)


def test_gaussians_at_right_angles_share_nothing():
    # tr Σa + tr Σb = 2 + 2, and (Σa Σb)^½ = 0.
    assert fid(PLUS_MINUS, PLUS_MINUS.flip(1)) == pytest.approx(4)


def test_correlated_gaussians_match_the_formula_with_a_matrix_root():
    a, b = features(1, 50).double(), (features(2, 60) @ features(3, 4)).double() + 1
    covariances = torch.cov(a.T), torch.cov(b.T)
    root = torch.linalg.eigvals(covariances[0] @ covariances[1]).sqrt().real.sum()
    expected = (a.mean(0) - b.mean(0)).square().sum() + sum(c.trace() for c in covariances)
    assert fid(a, b) == pytest.approx(float(expected - 2 * root), rel=1e-8)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.integers(2, 9), st.integers(2, 9), st.integers(1, 12))
def test_fid_is_symmetric_and_zero_with_itself(seed, n, m, size):
    a, b = features(seed, n, size), features(seed + 1, m, size)
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-9)
    assert fid(a, b) >= 0
    assert fid(a, a) == pytest.approx(0, abs=1e-9)


def test_fid_n_is_100_for_the_anomalies_and_0_for_normal_images():
    anomalies, normal = features(1), features(2) + 3
    assert fid_n(anomalies, anomalies, normal) == pytest.approx(100)
    assert fid_n(normal, anomalies, normal) == pytest.approx(0, abs=1e-6)


def test_fid_n_of_half_way_is_a_quarter():
    normal = features(0)
    assert fid_n(normal + 1, normal + 2, normal) == pytest.approx(25, rel=1e-5)


def test_fid_n_refuses_anomalies_that_are_normal():
    blank = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="no meaning"):
        fid_n(blank, blank, blank)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(1, 2), torch.zeros(5, 2)),
        (torch.zeros(5, 2), torch.zeros(5, 3)),
        (torch.zeros(5), torch.zeros(5)),
        (torch.full((5, 2), torch.inf), torch.zeros(5, 2)),
    ],
)
def test_fid_refuses_what_has_no_covariance(a, b):
    with pytest.raises(ValueError, match="fid needs"):
        fid(a, b)
