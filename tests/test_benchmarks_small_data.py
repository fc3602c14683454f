"""A few hundred normal images: figures of edits whose answer is known, and what is trained on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ifnormal.benchmarks.attempt import attempt
from ifnormal.benchmarks.experiment import Finished, Selection, Workplace
from ifnormal.benchmarks.experiments.small_data import EXPERIMENT, few_normal, only
from ifnormal.benchmarks.visible_change import changed_pixels, localisation, sharpness
from ifnormal.common.storage import read_json
from ifnormal.data.setups.card_files import card
from ifnormal.data.setups.setup import AnomalySetup

DATA = os.environ.get("IFNORMAL_DATA")


def defects(side: int = 32) -> tuple[Tensor, Tensor]:
    """Grey images with a bright square, and its mask."""
    images = torch.full((3, 1, side, side), 100, dtype=torch.uint8)
    masks = torch.zeros(3, side, side, dtype=torch.bool)
    for i in range(3):
        masks[i, 8 + i : 14 + i, 8:14] = True
    images[:, 0][masks] = 220
    return images, masks


def test_an_edit_of_the_defect_alone_is_inside() -> None:
    images, masks = defects()
    figures = localisation(images, torch.full_like(images, 100), masks)
    assert figures["edit_inside"] == pytest.approx(100)
    assert figures["edit_auroc"] > 99
    assert figures["area_inside"] == pytest.approx(100 * 14 * 14 / 32**2)


def test_an_edit_without_aim_is_inside_by_its_area() -> None:
    images, masks = defects()
    figures = localisation(images, images + 10, masks)
    assert figures["edit_inside"] == pytest.approx(figures["area_inside"], rel=1e-3)


def test_an_edit_elsewhere_is_outside() -> None:
    images, masks = defects()
    edited = images.clone()
    edited[..., 25:30, 25:30] = 0
    figures = localisation(images, edited, masks)
    assert figures["edit_inside"] == 0
    assert figures["edit_auroc"] < 50


def test_a_pixel_has_changed_when_it_can_be_seen() -> None:
    images, _ = defects()
    edited = images.clone()
    edited[..., :8, :] += 25
    edited[..., 8:16, :] -= 26
    assert changed_pixels(images, edited) == pytest.approx(25)


def test_sharpness_is_of_what_did_not_visibly_change() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(100, 120, (2, 3, 32, 32), generator=rng).to(torch.uint8)
    assert sharpness(images, images) == pytest.approx(100)
    repainted = images.clone()
    repainted[:, :, :10, :10] = 255  # a visible change, however flat, does not count as blur
    assert sharpness(images, repainted) == pytest.approx(100, abs=3)
    flat = images.float().mean((2, 3), True).expand(images.shape).to(torch.uint8)
    assert sharpness(images, flat) < 20


def test_few_normal_images_are_parted_and_spoilt(noise: AnomalySetup) -> None:
    few = few_normal(noise, 0)
    assert (len(few.train_normal), len(few.validation_normal)) == (438, 62)
    parts = [*few.train_normal.flatten(1), *few.validation_normal.flatten(1)]
    assert len(torch.stack(parts).unique(dim=0)) == 500
    assert (len(few.outliers), len(few.validation_outliers)) == (2000, 200)
    assert few.facts["outlier_source"] == "synthetic"
    assert few.test_normal is noise.test_normal


def test_chosen_anomalies_keep_their_attributes_and_masks(noise: AnomalySetup) -> None:
    chosen = torch.tensor([True, False, True])
    few = only(noise, chosen)
    assert torch.equal(few.test_anomalies, noise.test_anomalies[[0, 2]])
    assert few.attributes["test_anomalies"]["kind"].tolist() == [5, 7]
    assert few.test_masks is not None
    assert len(few.test_masks) == 2


@pytest.fixture
def noise() -> AnomalySetup:
    normal = torch.randint(256, (600, 3, 16, 16)).to(torch.uint8)
    return AnomalySetup(
        name="noise",
        normal="noise",
        train_normal=normal,
        validation_normal=normal[:20],
        validation_anomalies=normal[:3],
        test_normal=normal[:20],
        test_anomalies=normal[:3],
        outliers=normal,
        validation_outliers=normal[:20],
        attributes={"test_anomalies": {"kind": torch.tensor([5, 6, 7])}},
        test_masks=torch.zeros(3, 16, 16, dtype=torch.bool),
    )


@pytest.mark.skipif(not DATA, reason="IFNORMAL_DATA names no folder of data")
def test_every_speed_limit_and_nothing_else_is_normal() -> None:
    from ifnormal.data.sources.parquet import ParquetImages

    names = ParquetImages(Path(str(DATA)) / "gtsrb").read("test").class_names
    normal = {names[int(i)] for i in card("gtsrb/speed-limits").normal_classes}
    assert normal == {name for name in names if name.lower().startswith("speed limit")}


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="IFNORMAL_DATA names no folder of data")
@pytest.mark.parametrize("setup", ["mvtec/screw", "gtsrb/speed-limits"])
def test_a_tiny_run_from_end_to_end(setup: str, tmp_path: Path) -> None:
    (planned,) = EXPERIMENT.plan(Selection(only=setup))
    tiny = {
        "data.outliers": 32,
        "data.test_images": 20,
        "detector.steps": 20,
        "detector.width": 4,
        "detector.false_alarm_rate": 0.5,
        "fit.steps": 2,
        "fit.batch_size": 4,
        "fit.generator.width": 4,
        "fit.discriminator_width": 4,
    }
    run = replace(planned, options={**planned.options, **tiny})
    outcome = attempt(run, Workplace(tmp_path, Path(str(DATA))))
    assert outcome.state == "done", outcome
    folder = tmp_path / run.key
    figures = read_json(folder / "metrics.json")
    (table,) = EXPERIMENT.tables([run], [Finished(run, figures, folder)])
    (row,) = table.rows.values()
    missing = [name for name, cell in zip(table.columns, row, strict=True) if not cell.runs]
    at_defects = {
        "edit at the defect, %",
        "its share of the image, %",
        "pixel AuROC of the edit, %",
    }
    assert set(missing) == (at_defects if setup.startswith("gtsrb") else set())
    assert (folder / "changes.png").exists()
