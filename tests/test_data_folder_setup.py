"""A setup from a user's own folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ifnormal.cli import main
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_pil
from ifnormal.config import DataConfig, data_config
from ifnormal.data import load_setup


def stripes(count: int, seed: int, level: int = 120) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 40, (count, 3, 16, 16), generator=rng)
    lines = (torch.arange(16) % 4 < 2) * level
    return (lines.view(1, 1, 16, 1) + noise).to(torch.uint8)


def folder(path: Path, images: Tensor) -> Path:
    path.mkdir()
    for number, image in enumerate(images):
        to_pil(image).save(path / f"{number:03d}.png")
    return path


def config(path: Path, **options: object) -> DataConfig:
    return DataConfig(setup="folder", normal=path, size=16, outliers=60, **options)  # type: ignore[arg-type]


def images_of(setup_part: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in setup_part}


def test_parts_are_disjoint_and_do_not_depend_on_the_seed(tmp_path: Path) -> None:
    normal = folder(tmp_path / "normal", stripes(40, 0))
    first, second = (load_setup(config(normal), seed) for seed in (0, 1))
    parts = [images_of(p) for p in (first.train_normal, first.validation_normal, first.test_normal)]
    assert [len(part) for part in parts] == [24, 8, 8]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert torch.equal(first.test_normal, second.test_normal)
    assert not torch.equal(first.outliers, second.outliers)
    assert first.shape == (3, 16, 16)
    assert len(first.outliers) == 60


def test_without_anything_else_outliers_and_anomalies_are_synthetic(tmp_path: Path) -> None:
    setup = load_setup(config(folder(tmp_path / "normal", stripes(40, 0))), 0)
    assert setup.facts["outlier_source"] == setup.facts["anomaly_source"] == "synthetic"
    known = images_of(torch.cat([setup.train_normal, setup.validation_normal, setup.test_normal]))
    for spoilt in (setup.outliers, setup.validation_outliers, setup.test_anomalies):
        assert not images_of(spoilt) & known


def test_given_outliers_and_anomalies_are_used(tmp_path: Path) -> None:
    normal = folder(tmp_path / "normal", stripes(40, 0))
    outliers, anomalies = stripes(20, 1, 200), stripes(5, 2, 0)
    setup = load_setup(
        config(
            normal,
            outlier_images=folder(tmp_path / "others", outliers),
            anomalies=folder(tmp_path / "bad", anomalies),
        ),
        0,
    )
    assert torch.equal(setup.test_anomalies, anomalies)
    assert len(setup.outliers) == 18
    both = torch.cat([setup.outliers, setup.validation_outliers])
    assert images_of(both) == images_of(outliers)


def test_copies_of_an_image_count_once(tmp_path: Path) -> None:
    images = stripes(35, 0)
    setup = load_setup(config(folder(tmp_path / "normal", torch.cat([images, images[:10]]))), 0)
    parts = torch.cat([setup.train_normal, setup.validation_normal, setup.test_normal])
    assert len(parts) == 35


def test_images_are_brought_to_size_and_grey(tmp_path: Path) -> None:
    setup = load_setup(config(folder(tmp_path / "normal", stripes(40, 0)), channels=1), 0)
    assert setup.shape == (1, 16, 16)
    assert setup.outliers.shape[1:] == (1, 16, 16)


def test_refusals_name_the_folder_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data\.normal"):
        load_setup(DataConfig(setup="folder"), 0)
    few = folder(tmp_path / "few", stripes(29, 0))
    with pytest.raises(UserError, match=r"few holds 29 different images.*at least 30"):
        load_setup(config(few), 0)
    normal = folder(tmp_path / "normal", stripes(40, 0))
    lone = folder(tmp_path / "lone", stripes(3, 1))
    with pytest.raises(UserError, match=r"lone holds 3 different outliers"):
        load_setup(config(normal, outlier_images=lone), 0)


@pytest.mark.parametrize("options", [{"size": 6}, {"size": 30}, {"channels": 2}])
def test_sizes_and_channels_that_no_network_takes(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"size must be|channels must be one of 1, 3"):
        DataConfig(**options)  # type: ignore[arg-type]


def test_paths_survive_json() -> None:
    saved = {"setup": "folder", "normal": "good", "anomalies": None, "data_root": None}
    again = data_config(saved)
    assert again.normal == Path("good")
    assert again.anomalies is None
    assert again.outlier_images is None


def test_a_detector_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    normal, run = folder(tmp_path / "normal", stripes(40, 0)), tmp_path / "run"
    options = "--data.setup folder --data.size 16 --data.outliers 40 --detector.steps 3"
    options += " --detector.width 4 --detector.batch-size 8"
    code = main(
        ["train-detector", "--run", str(run), "--data.normal", str(normal), *options.split()]
    )
    assert code == 0, capsys.readouterr().err
    assert (run / "detector" / "detector.json").exists()
