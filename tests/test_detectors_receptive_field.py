"""Receptive fields and Gaussian upsampling against brute force."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.detectors.builtin.fully_convolutional import gaussian, upsample
from ifnormal.detectors.builtin.receptive_field import ReceptiveField, receptive_fields

SIZE = (37, 33)


def all_positive(*layers: nn.Module) -> nn.Sequential:
    """The network with all weights 1 and no bias: what a unit reads is where its gradient is."""
    network = nn.Sequential(*layers).double().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def read_by(network: nn.Sequential, channels: int, row: int, column: int) -> Tensor:
    """(H, W): the gradient of one output unit."""
    image = torch.ones(1, channels, *SIZE, dtype=torch.float64, requires_grad=True)
    output = network(image)[0].sum(0)
    (gradient,) = torch.autograd.grad(output[row, column], image)
    return gradient[0].sum(0)


def seen_by(network: nn.Sequential, row: int, column: int) -> Tensor:
    """(H, W) bool: the single bright pixels that one output unit answers to."""
    dots = torch.eye(SIZE[0] * SIZE[1], dtype=torch.float64).view(-1, 1, *SIZE)
    return (network(dots).sum(1)[:, row, column] > 0).view(SIZE)


def ends(support: Tensor) -> list[tuple[int, int]]:
    """First and last row, first and last column that are not 0."""
    places = [(support != 0).any(1 - axis).nonzero().flatten().tolist() for axis in (0, 1)]
    return [(axis[0], axis[-1]) for axis in places]


def check(
    support: Tensor, fields: tuple[ReceptiveField, ReceptiveField], units: tuple[int, int]
) -> int:
    """That a unit reads nothing outside its field; how many axes were free of the rim.

    There the field is exact. Where some of it is padding, layers further on read zeros and less of
    the image than they would.
    """
    exact = 0
    found = ends(support)
    for axis, field in enumerate(fields):
        first, last = field.pixels(units[axis])
        assert first <= found[axis][0] <= found[axis][1] <= last
        if first >= 0 and last < SIZE[axis]:
            assert found[axis] == (first, last)
            exact += 1
    return exact


NETWORKS = {
    "one pixel": [nn.Conv2d(1, 2, 1)],
    "vgg": [
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.AvgPool2d(3, 2, 1)),
        nn.Conv2d(2, 1, 1),
    ],
    "dilated": [nn.Conv2d(1, 1, 3, padding=2, dilation=2), nn.Conv2d(1, 1, 5, stride=2)],
    "not square": [nn.Conv2d(1, 1, (1, 5), (1, 2), (0, 2)), nn.Conv2d(1, 1, (3, 1), (2, 1))],
    "same and valid": [
        nn.Conv2d(1, 1, 5, padding="same"),
        nn.Conv2d(1, 1, 3, padding="same", dilation=2),
        nn.Conv2d(1, 1, 3, padding="valid"),
    ],
    "rounded up": [nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(1, 1, 3, padding=1)],
    "skips": [nn.Conv2d(1, 1, 1, stride=3), nn.Conv2d(1, 1, 3, padding=1)],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_unit_reads_what_its_gradient_says(name: str) -> None:
    network = all_positive(*NETWORKS[name])
    fields = receptive_fields(network)
    height, width = network(torch.ones(1, 1, *SIZE, dtype=torch.float64)).shape[2:]
    exact = [
        check(read_by(network, 1, *units), fields, units)
        for units in [(0, 0), (height // 2, width // 3), (height - 1, width - 1)]
    ]
    assert exact[1] == 2


def test_cells_and_maxima() -> None:
    padded = nn.ZeroPad2d((0, 3, 0, 3))  # to a multiple of 4
    cells = all_positive(
        nn.PixelUnshuffle(4), nn.Conv2d(16, 2, 3, padding=1), nn.MaxPool2d(2, 1, 1)
    )
    fields = receptive_fields(cells)
    assert fields[0] == fields[1]
    assert (fields[0].size, fields[0].stride, fields[0].offset) == (16, 4, -8)
    exact = [
        check(seen_by(nn.Sequential(padded, cells), *units), fields, units)
        for units in [(0, 0), (4, 3), (7, 8)]
    ]
    assert exact[1] == 2


def test_where_the_size_is_rounded_up_the_last_unit_reads_beyond_the_image() -> None:
    network = all_positive(nn.MaxPool2d(2, ceil_mode=True))
    down, across = receptive_fields(network)
    assert (down.pixels(18), across.pixels(16)) == ((36, 37), (32, 33))
    assert ends(seen_by(network, 18, 16)) == [(36, 36), (32, 32)]


@st.composite
def layers(draw: st.DrawFn) -> nn.Module:
    kernel = draw(st.integers(1, 5))
    stride = draw(st.integers(1, 2))
    if draw(st.booleans()):
        padding = draw(st.integers(0, kernel // 2))
        return nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans()))
    return nn.Conv2d(
        1, 1, kernel, stride, draw(st.integers(0, 2)), dilation=draw(st.integers(1, 2))
    )


@given(st.lists(layers(), min_size=1, max_size=4), st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=60)
def test_any_network(drawn: list[nn.Module], row: int, column: int) -> None:
    network = all_positive(*drawn)
    try:
        height, width = network(torch.ones(1, 1, *SIZE, dtype=torch.float64)).shape[2:]
    except RuntimeError:  # too deep for the image
        return
    units = row % height, column % width
    support = read_by(network, 1, *units)
    if bool(support.any()):  # a unit at the rim may read padding only
        check(support, receptive_fields(network), units)


def test_the_spread_is_that_of_equal_weights() -> None:
    network = all_positive(*NETWORKS["vgg"][:3], nn.Conv2d(2, 1, 3, 2, 1, dilation=1))
    fields = receptive_fields(network)
    unit = (4, 4)
    weights = read_by(network, 1, *unit).sum(1)
    weights = weights / weights.sum()
    place = torch.arange(SIZE[0])
    mean = (weights * place).sum()
    assert mean.item() == pytest.approx(fields[0].centre(4))
    variance = (weights * (place - mean) ** 2).sum()
    assert variance.item() == pytest.approx(fields[0].spread ** 2)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 3),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"),
    ],
)
def test_what_is_not_fully_convolutional_is_refused(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match="receptive field"):
        receptive_fields(nn.Sequential(nn.Conv2d(1, 1, 3), layer))


def spread_out(
    maps: Tensor, fields: tuple[ReceptiveField, ReceptiveField], size: tuple[int, int]
) -> Tensor:
    """Algorithm 1 as it is written: every pixel of every unit, one by one."""

    def weights(field: ReceptiveField) -> list[float]:
        width, middle = max(field.spread, field.stride / 2), (field.size - 1) / 2
        each = [math.exp(-((i - middle) ** 2) / (2 * width**2)) for i in range(field.size)]
        return [field.stride * value / sum(each) for value in each]

    result = torch.zeros(len(maps), *size, dtype=maps.dtype)
    down, across = (weights(field) for field in fields)
    for i in range(maps.shape[1]):
        for j in range(maps.shape[2]):
            top, left = fields[0].pixels(i)[0], fields[1].pixels(j)[0]
            for dy, vertical in enumerate(down):
                for dx, horizontal in enumerate(across):
                    y, x = top + dy, left + dx
                    if 0 <= y < size[0] and 0 <= x < size[1]:
                        result[:, y, x] += maps[:, i, j] * vertical * horizontal
    return result


FIELDS = [
    (ReceptiveField(7, 2, -3, 2.0), ReceptiveField(5, 2, -2, 1.0)),
    (ReceptiveField(4, 4, 0, 1.25), ReceptiveField(6, 3, 1, 2.0)),
    (ReceptiveField(3, 5, 1, 0.5), ReceptiveField(12, 1, -8, 9.0)),
]


@pytest.mark.parametrize("fields", FIELDS)
def test_upsampling_is_algorithm_1(fields: tuple[ReceptiveField, ReceptiveField]) -> None:
    maps = torch.rand(2, 4, 5, dtype=torch.float64)
    for size in [(13, 11), (20, 31)]:  # some smaller than all that units read, some larger
        torch.testing.assert_close(upsample(maps, fields, size), spread_out(maps, fields, size))


@pytest.mark.parametrize("fields", FIELDS)
def test_upsampling_has_the_right_gradient(fields: tuple[ReceptiveField, ReceptiveField]) -> None:
    maps = torch.rand(1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: upsample(x, fields, (9, 8)), maps)


def test_a_constant_map_stays_as_it_is_but_for_the_rim() -> None:
    network = nn.Sequential(
        nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 1, 1)
    )
    fields = receptive_fields(network)
    heat = upsample(torch.full((1, 16, 16), 3.0), fields, (64, 64))[:, 16:48, 16:48]
    torch.testing.assert_close(F.avg_pool2d(heat, 4), torch.full((1, 8, 8), 3.0))
    assert (heat - 3).abs().max() < 0.3  # the grid of the units is hardly seen


def test_one_hot_unit_is_hottest_in_the_middle_of_what_it_reads() -> None:
    field = ReceptiveField(9, 4, -2, 4.0)
    maps = torch.zeros(1, 4, 4)
    maps[0, 2, 1] = 1
    heat = upsample(maps, (field, field), (20, 20))
    assert divmod(int(heat.argmax()), 20) == (field.centre(2), field.centre(1))
    assert ends(heat[0]) == [field.pixels(2), field.pixels(1)]
    assert gaussian(field, maps).sum().item() == pytest.approx(4)
