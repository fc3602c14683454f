"""Pictures of runs: the colours of heat, and what stands where on a contact sheet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from ifnormal.benchmarks.pictures import PAPER, heat_picture, write_contact_sheet

BLACK, RED, YELLOW, WHITE = (0, 0, 0), (255, 0, 0), (255, 255, 0), (255, 255, 255)


def test_heat_goes_from_black_over_red_and_yellow_to_white() -> None:
    picture = heat_picture(torch.linspace(0, 1, 4)[None])
    assert [picture.getpixel((x, 0)) for x in range(4)] == [BLACK, RED, YELLOW, WHITE]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_has_a_row_an_image_and_a_column_a_kind(
    tmp_path: Path, channels: int
) -> None:
    grey = torch.full((3, channels, 16, 16), 100, dtype=torch.uint8)
    masks = torch.tensor([True, False, True])[:, None, None].expand(3, 16, 16)
    heat = torch.tensor([0.0, 7.0, 0.0])[:, None, None].expand(3, 16, 16)  # the second is hot
    path = write_contact_sheet(
        tmp_path / "sheet.png", {"image": grey, "mask": masks, "heat": heat}, rows=2
    )
    with Image.open(path) as sheet:
        assert sheet.size == (3 * 84 + 24, 2 * 84 + 18 + 24)
        shown = [
            [sheet.getpixel((12 + 84 * x + 40, 30 + 84 * y + 40)) for x in range(3)]
            for y in range(2)
        ]
        assert sheet.getpixel((0, 0)) == PAPER
    assert shown == [[(100,) * 3, WHITE, BLACK], [(100,) * 3, BLACK, WHITE]]
