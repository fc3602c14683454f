"""Noise levels: what is split comes together again, for noise and for velocities."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("diffusers")

from ifnormal.explainers.diffusion.loading import schedule_of
from ifnormal.explainers.diffusion.noise_schedule import CLEAN, NoiseSchedule
from tiny_backbones import scheduler

ALPHAS = torch.linspace(0.99, 0.01, 100)


@given(st.integers(0, 99), st.sampled_from(["epsilon", "v_prediction"]), st.integers(0, 2**16))
def test_split_undoes_add_noise(time: int, prediction: str, seed: int) -> None:
    schedule = NoiseSchedule(ALPHAS, prediction)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(seed)
    clean, noise = torch.randn((2, 3, 4, 2, 2), generator=random)
    noisy = schedule.add_noise(clean, noise, time)
    said = noise if prediction == "epsilon" else schedule.velocity(clean, noise, time)
    again, same = schedule.split(said, noisy, time)
    torch.testing.assert_close(again, clean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(same, noise, atol=1e-4, rtol=1e-4)


def test_golden_values() -> None:
    schedule = NoiseSchedule(torch.tensor([0.64, 0.36]), "v_prediction")
    clean, noise = torch.tensor([[1.0]]), torch.tensor([[10.0]])
    assert schedule.add_noise(clean, noise, 0).item() == pytest.approx(0.8 + 6)
    assert schedule.add_noise(clean, noise, 1).item() == pytest.approx(0.6 + 8)
    assert schedule.velocity(clean, noise, 0).item() == pytest.approx(8 - 0.6)
    both = schedule.add_noise(clean.repeat(2, 1), noise.repeat(2, 1), torch.tensor([0, 1]))
    assert both.flatten().tolist() == pytest.approx([6.8, 8.6])


@pytest.mark.parametrize("steps", [1, 4, 50, 1000])
def test_times_are_those_of_diffusers(steps: int) -> None:
    theirs = scheduler()
    theirs.set_timesteps(steps)
    expected = theirs.timesteps.clamp_max(999).tolist()
    assert schedule_of(scheduler(), "x").times(steps) == expected


def test_a_step_is_that_of_diffusers() -> None:
    theirs, ours = scheduler(), schedule_of(scheduler(), "x")
    theirs.set_timesteps(10)
    latents, said = torch.randn((2, 1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    times = [*ours.times(10), CLEAN]
    for time, after in pairwise(times):
        expected = theirs.step(said, time, latents).prev_sample
        step = ours.add_noise(*ours.split(said, latents, time), after)
        torch.testing.assert_close(step, expected, atol=1e-5, rtol=1e-4)


def test_part_of_the_noise_is_replaced() -> None:
    schedule = NoiseSchedule(ALPHAS, "epsilon")
    random = torch.Generator().manual_seed(0)
    clean, noise = torch.randn((2, 3, 2, 4, 4), generator=random)
    fresh = torch.randn((5, 2, 4, 4), generator=random)
    noisy = schedule.add_noise(clean, noise, 50)
    kept = schedule.remix(noisy, clean, fresh, 50, 1.0, 0.0)
    torch.testing.assert_close(kept, noisy[:, None].expand_as(kept))
    replaced = schedule.remix(noisy, clean, fresh, 50, 0.0, 1.0)
    torch.testing.assert_close(replaced[1, 2], schedule.add_noise(clean[1], fresh[2], 50))
