"""The networks for images beyond 32 pixels: bounded cost, sharp edits, any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ifnormal.config import GeneratorConfig
from ifnormal.training.networks.discriminator import Discriminator
from ifnormal.training.networks.generator import Generator

CONFIG = GeneratorConfig(width=8, outer_blocks=1, inner_blocks=2)


def steering(count: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(count), torch.arange(count) % 2


def cost_per_pixel(side: int) -> tuple[float, float]:
    """Of the shipped generator and discriminator, in operations."""
    images = torch.rand(1, 3, side, side)
    generator = Generator(3, 2, GeneratorConfig(), side)
    discriminator = Discriminator(3, 2, 32, side)
    costs = []
    for network in (
        lambda: generator(images, *steering(1)),
        lambda: discriminator(images, torch.zeros(1), torch.ones(1, 2) / 2),
    ):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network()
        costs.append(counter.get_total_flops() / side**2)
    return costs[0], costs[1]


def test_small_images_have_the_small_network() -> None:
    small = Generator(3, 2, CONFIG)
    for side in (8, 28, 32, 48):
        other = Generator(3, 2, CONFIG, side)
        assert list(other.state_dict()) == list(small.state_dict())
    names = {name.split(".")[0] for name in small.state_dict()}
    assert names == {"condition", "stem", "down_blocks", "down", "inner_blocks"} | {
        "up",
        "up_blocks",
        "last",
    }
    assert len(Discriminator(3, 2, 8, 32).stages) == 2


@pytest.mark.parametrize("side", [64, 128, 256])
def test_a_pixel_of_a_large_image_costs_little_more_than_one_of_a_small(side: int) -> None:
    small, large = cost_per_pixel(32), cost_per_pixel(side)
    assert large[0] < 1.3 * small[0]
    assert large[1] < 1.3 * small[1]


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (100, 60), (128, 128)])
@pytest.mark.parametrize("channels", [1, 3])
def test_starts_as_the_identity_whatever_the_size(size: tuple[int, int], channels: int) -> None:
    images = torch.rand(2, channels, *size)
    edited, overshoot = Generator(channels, 2, CONFIG, max(size), size)(images, *steering(2))
    assert edited.shape == overshoot.shape == images.shape
    torch.testing.assert_close(edited, images, atol=0.05, rtol=0)
    realness = Discriminator(channels, 2, 4, max(size))(
        images, torch.zeros(2), torch.full((2, 2), 0.5)
    )
    assert realness.shape == (2,)


def test_every_weight_of_the_large_network_is_used() -> None:
    generator = Generator(3, 2, CONFIG, 128)
    edited, overshoot = generator(torch.rand(2, 3, 128, 128), *steering(2))
    (edited.square().mean() + overshoot.sum()).backward()
    assert [n for n, p in generator.named_parameters() if p.grad is None] == []


def test_edits_of_large_images_are_sharp() -> None:
    """Taught to erase single bright pixels, it changes these and not the cells they lie in."""
    torch.manual_seed(0)
    generator = Generator(1, 1, CONFIG, 96, (32, 32))
    assert generator.step == 4
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.01)
    zeros = torch.zeros(8), torch.zeros(8, dtype=torch.long)

    def dotted() -> tuple[Tensor, Tensor]:
        dots = (torch.rand(8, 1, 32, 32) < 0.1).float()
        return dots, 0.3 + 0.5 * dots

    for _ in range(80):
        edited, _ = generator(dotted()[1], *zeros)
        optimizer.zero_grad()
        (edited - 0.3).square().mean().backward()
        optimizer.step()
    dots, images = dotted()
    with torch.no_grad():
        change = (generator(images, *zeros)[0] - images).abs()
    beside = F.max_pool2d(dots, 3, 1, 1) - dots
    assert change[dots == 1].mean() > 5 * change[beside == 1].mean()


def test_the_far_corners_meet_in_a_large_network() -> None:
    """An edit can depend on pixels 60 away: on all that surrounds a defect."""
    torch.manual_seed(0)
    generator = Generator(1, 1, GeneratorConfig(width=8), 128)
    nn.init.normal_(generator.last.weight)
    image = torch.full((1, 1, 128, 128), 0.5, requires_grad=True)
    edited, overshoot = generator(image, torch.zeros(1), torch.zeros(1, dtype=torch.long))
    (edited + overshoot)[0, 0, 64, 64].backward()
    assert image.grad is not None
    seen = image.grad[0, 0].abs() > 0
    assert seen[64, 4]
    assert seen[4, 64]


def test_statistics_of_pixels_are_saved_with_the_weights() -> None:
    normal = torch.zeros(10, 1, 64, 64)
    normal[..., 32:] = 0.9
    generator, other = Generator(1, 1, CONFIG, 64), Generator(1, 1, CONFIG, 64)
    assert generator.pixel_statistics is not None
    assert other.pixel_statistics is not None
    generator.pixel_statistics.fit(normal)
    other.load_state_dict(generator.state_dict())
    seen = other.pixel_statistics(normal[:1].flip(3))
    assert seen.shape == (1, 3, 64, 64)
    torch.testing.assert_close(seen[:, :1], normal[:1].flip(3))
    torch.testing.assert_close(seen[:, 1:2], normal[:1])
    assert seen[0, 2, :, :32].min() == 1  # far above the mean there
    assert seen[0, 2, :, 32:].max() == -1
    assert Generator(1, 1, CONFIG, 48).pixel_statistics is None
