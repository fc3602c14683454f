"""Pictures of runs: the colours of heat, and what stands where on a contact sheet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from ifnormal.benchmarks.pictures import (
    PAPER,
    picture,
    scaled_alone,
    scaled_together,
    write_columns,
)

BLACK, RED, YELLOW, WHITE = (0, 0, 0), (255, 0, 0), (255, 255, 0), (255, 255, 255)


def test_heat_goes_from_black_over_red_and_yellow_to_white() -> None:
    shown = picture(torch.linspace(0, 1, 4)[None])
    assert [shown.getpixel((x, 0)) for x in range(4)] == [BLACK, RED, YELLOW, WHITE]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_has_a_row_an_image_and_a_column_a_kind(tmp_path: Path, channels: int) -> None:
    grey = torch.full((3, channels, 16, 16), 100, dtype=torch.uint8)
    masks = torch.tensor([True, False, True])[:, None, None].expand(3, 16, 16)
    heat = torch.tensor([0.0, 7.0, 0.0])[:, None, None].expand(3, 16, 16)  # the second is hot
    columns = {"image": grey, "mask": masks, "heat": scaled_alone(heat)}
    path = write_columns(tmp_path / "sheet.png", columns, rows=2)
    with Image.open(path) as sheet:
        assert sheet.size == (3 * 100 + 2 * 4 + 24, 2 * 100 + 13 + 24)
        shown = [
            [sheet.getpixel((12 + 104 * x + 48, 25 + 100 * y + 48)) for x in range(3)]
            for y in range(2)
        ]
        assert sheet.getpixel((0, 0)) == PAPER
    assert shown == [[(100,) * 3, WHITE, BLACK], [(100,) * 3, BLACK, WHITE]]


def test_heat_in_one_scale_looks_cold_beside_hotter_maps() -> None:
    heat = torch.tensor([1.0, 5.0])[:, None, None].expand(2, 16, 16)
    assert scaled_together(heat).amax((1, 2)).tolist() == [0, 1]
    assert scaled_alone(heat).amax((1, 2)).tolist() == [1, 1]
    assert not scaled_alone(torch.zeros(1, 4, 4)).any()


def test_headings_are_wrapped_to_the_width_of_their_pictures(tmp_path: Path) -> None:
    grey = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    heights = []
    for title in ("short", "a heading of several words"):
        with Image.open(write_columns(tmp_path / "grid.png", {title: grey})) as sheet:
            heights.append(sheet.height)
    assert heights[1] == heights[0] + 13
