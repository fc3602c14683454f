"""The figures of studies/small_data.py, on images whose answer is known."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from ifnormal.explanation.explanation import Explanation


@pytest.fixture(scope="module")
def small_data() -> ModuleType:
    path = Path(__file__).parent.parent / "studies" / "small_data.py"
    spec = importlib.util.spec_from_file_location("small_data", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["small_data"] = module
    spec.loader.exec_module(module)
    return module


def explained(anomalies: Tensor, edits: Tensor) -> Explanation:
    n, k = edits.shape[:2]
    return Explanation(
        anomalies=anomalies,
        counterfactuals=edits,
        calibrated_scores_before=torch.full((n,), 0.9),
        calibrated_scores_after=torch.full((n, k), 0.1),
        concept_probabilities=torch.full((n, k, k), 1 / k),
        calibrated_threshold=0.5,
        traversal_targets=torch.tensor([1.0, 0.0]),
        traversals=edits[:0, :, None].repeat(1, 1, 2, 1, 1, 1),
        calibrated_traversal_scores=torch.zeros(0, k, 2),
        names=tuple(map(str, range(n))),
    )


def defects(side: int = 32) -> tuple[Tensor, Tensor]:
    """Grey images with a bright square, and its mask."""
    images = torch.full((3, 1, side, side), 100, dtype=torch.uint8)
    masks = torch.zeros(3, side, side, dtype=torch.bool)
    for i in range(3):
        masks[i, 8 + i : 14 + i, 8:14] = True
    images[:, 0][masks] = 220
    return images, masks


def test_an_edit_of_the_defect_alone_is_inside(small_data: ModuleType) -> None:
    images, masks = defects()
    mended = torch.full_like(images, 100)[:, None]
    figures = small_data.localisation(explained(images, mended), masks)
    assert figures["edit_inside"] == [pytest.approx(100)]
    assert figures["heatmap_auroc"][0] > 99
    assert figures["area_inside"] == pytest.approx(100 * 14 * 14 / 32**2)


def test_an_edit_without_aim_is_inside_by_its_area(small_data: ModuleType) -> None:
    images, masks = defects()
    shifted = (images + 10)[:, None]
    figures = small_data.localisation(explained(images, shifted), masks)
    assert figures["edit_inside"][0] == pytest.approx(figures["area_inside"], rel=1e-3)


def test_an_edit_elsewhere_is_outside(small_data: ModuleType) -> None:
    images, masks = defects()
    edits = images[:, None].clone()
    edits[:, :, :, 25:30, 25:30] = 0
    figures = small_data.localisation(explained(images, edits), masks)
    assert figures["edit_inside"] == [0.0]
    assert figures["heatmap_auroc"][0] < 50


def test_sharpness_is_of_what_did_not_visibly_change(small_data: ModuleType) -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(100, 120, (2, 3, 32, 32), generator=rng).to(torch.uint8)
    assert small_data._sharpness(images, images) == pytest.approx(100)
    repainted = images.clone()
    repainted[:, :, :10, :10] = 255  # a visible change, however flat, does not count as blur
    assert small_data._sharpness(repainted, images) == pytest.approx(100, abs=3)
    flat = images.float().mean((2, 3), True).expand(images.shape).to(torch.uint8)
    assert small_data._sharpness(flat, images) < 20


def test_the_picture_has_a_row_for_all_there_is_to_see(small_data: ModuleType) -> None:
    images, _ = defects()
    edits = torch.stack([images, images], 1)
    sheet = small_data.picture(explained(images, edits), 8, 2)
    side, rows = 64, 5  # anomaly, two concepts, two changes
    assert sheet.size == (70 + 3 * (side + 4), rows * (side + 16))
    unchanged = sheet.getpixel((70 + side // 2, 3 * (side + 16) + side // 2))
    assert unchanged == (128, 128, 128)


def test_every_speed_limit_and_nothing_else_is_normal(small_data: ModuleType) -> None:
    import os

    from ifnormal.data.sources.parquet import ParquetImages

    root = os.environ.get("IFNORMAL_DATA")
    if not root or not (Path(root) / "gtsrb").is_dir():
        pytest.skip("needs IFNORMAL_DATA with gtsrb")
    names = ParquetImages(Path(root) / "gtsrb").read("test").class_names
    normal = {names[i] for i in small_data._SPEED_LIMITS}
    assert normal == {name for name in names if name.lower().startswith("speed limit")}
