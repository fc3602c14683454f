import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, tensor

from ifnormal.evaluation import fid as module
from ifnormal.evaluation.fid import kid


def test_by_hand():
    # F = 1: k(0, 0) = 1, k(0, 1) = 1, k(1, 1) = 8
    zeros, ones = torch.zeros(2, 1), torch.ones(3, 1)
    assert kid(zeros, ones) == pytest.approx(1000 * (1 + 8 - 2 * 1))
    # within {0, 1}: 1; within {1, 1}: 8; between: (1 + 1 + 8 + 8) / 4
    assert kid(tensor([[0.0], [1.0]]), torch.ones(2, 1)) == pytest.approx(1000 * (1 + 8 - 2 * 4.5))


def brute_force(a, b):
    def kernel(x, y):
        return (float(x @ y) / len(x) + 1) ** 3

    def within(c):
        pairs = [(i, j) for i in range(len(c)) for j in range(len(c)) if i != j]
        return sum(kernel(c[i], c[j]) for i, j in pairs) / len(pairs)

    between = sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))
    return 1000 * (within(a) + within(b) - 2 * between)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 7), st.integers(2, 7))
def test_as_by_brute_force_and_the_same_both_ways(seed, n, m):
    rng = Generator().manual_seed(seed)
    a, b = (torch.randn(count, 3, generator=rng, dtype=torch.float64) for count in (n, m))
    assert kid(a, b) == pytest.approx(brute_force(a, b))
    assert kid(b, a) == pytest.approx(kid(a, b))


def test_rows_at_a_time_make_no_difference(monkeypatch):
    a, b = (torch.randn(11, 4, generator=Generator().manual_seed(seed)) for seed in (0, 1))
    whole = kid(a, b)
    monkeypatch.setattr(module, "_ROWS", 3)
    assert kid(a, b) == pytest.approx(whole)


def test_samples_of_the_same_are_at_zero_on_average_and_others_are_not():
    rng = Generator().manual_seed(0)
    same = [kid(*torch.randn(2, 12, 4, generator=rng)) for _ in range(300)]
    mean, spread = torch.tensor(same).mean(), torch.tensor(same).std()
    assert abs(mean) < 4 * spread / 300**0.5
    assert min(same) < 0
    apart = [kid(*(torch.randn(2, 12, 4, generator=rng) + tensor([0, 2])[:, None, None]))]
    assert apart[0] > max(same)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 4)),
        (torch.zeros(3), torch.zeros(3)),
        (torch.zeros(1, 2), torch.zeros(3, 2)),
        (torch.zeros(3, 2), torch.full((3, 2), float("nan"))),
    ],
)
def test_what_does_not_fit_is_refused(a, b):
    with pytest.raises(ValueError, match="kid needs"):
        kid(a, b)
