"""The cache of features: what it keeps, what makes others of them, its bound, its failures."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ifnormal.detectors.builtin import feature_cache
from ifnormal.detectors.builtin.feature_cache import LEAST_IMAGES, cached_features


class Extractor(nn.Module):
    side = 8
    calls: ClassVar[list[int]] = []

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def features(self, images: Tensor, what: str = "means") -> Tensor:
        def compute() -> Tensor:
            self.calls.append(len(images))
            return self.weight.detach() * images.float().mean((2, 3))

        extractor: Any = self
        return cached_features(extractor, images, what, compute)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IFNORMAL_CACHE", str(tmp_path))
    Extractor.calls.clear()
    return tmp_path / "features"


def some_images(seed: int = 0, count: int = LEAST_IMAGES) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 4, 4), generator=rng, dtype=torch.uint8)


def test_the_same_again_is_read() -> None:
    first, again = Extractor().features(some_images()), Extractor().features(some_images())
    assert torch.equal(first, again)
    assert Extractor.calls == [LEAST_IMAGES]


def test_other_pixels_weights_sides_or_functions_are_computed() -> None:
    Extractor().features(some_images())
    Extractor().features(some_images(1))
    Extractor().features(some_images().flip(0))
    Extractor(2.0).features(some_images())
    Extractor().features(some_images(), "others")
    larger = Extractor()
    larger.side = 16
    larger.features(some_images())
    assert len(Extractor.calls) == 6


def test_few_images_are_not_kept(folder: Path) -> None:
    Extractor().features(some_images(count=LEAST_IMAGES - 1))
    assert not folder.exists()


def test_the_least_recently_used_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Extractor().features(some_images(0))
    (first,) = folder.iterdir()
    os.utime(first, (1, 1))
    Extractor().features(some_images(1))
    (second,) = set(folder.iterdir()) - {first}
    os.utime(second, (2, 2))
    Extractor().features(some_images(0))  # used again
    monkeypatch.setattr(feature_cache, "MOST_BYTES", int(2.5 * first.stat().st_size))
    Extractor().features(some_images(2))
    assert first.exists()
    assert not second.exists()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_a_damaged_file_is_made_again(content: bytes | None, folder: Path) -> None:
    expected = Extractor().features(some_images())
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    assert torch.equal(Extractor().features(some_images()), expected)
    assert torch.equal(Extractor().features(some_images()), expected)
    assert len(Extractor.calls) == 2


def test_many_at_once_read_the_same(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Extractor().features(some_images()), range(16)))
    assert all(torch.equal(one, found[0]) for one in found)
    assert len(list(folder.iterdir())) == 1


def test_without_a_folder_features_are_computed_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("IFNORMAL_CACHE", str(tmp_path / "file"))
    expected = some_images().float().mean((2, 3))
    for _ in range(2):
        assert torch.equal(Extractor().features(some_images()), expected)
    assert len(Extractor.calls) == 2
