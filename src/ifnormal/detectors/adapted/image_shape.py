"""The shape of the images that are edited, and the preprocessing between them and the model."""

from __future__ import annotations

from dataclasses import replace

from ifnormal.common.errors import UserError
from ifnormal.config import Preprocessing
from ifnormal.detectors.adapted.preprocessing import output_size
from ifnormal.detectors.adapted.score_model import ScoreModel


def fit_together(
    model: ScoreModel, shape: tuple[int, int, int] | None, steps: Preprocessing
) -> tuple[tuple[int, int, int], Preprocessing]:
    """The shape of the images and the preprocessing, completed by what the model takes.

    Raises:
        UserError: the model takes images of any size and no shape is given, or the preprocessing
            makes images of another size than the model takes.
    """
    channels, height, width = model.input_shape
    if shape is None:
        sides = (height, width) if height and width else steps.crop or steps.size
        if sides is None:
            raise UserError(
                f"The {model.name} takes images of any size; say at which (C, H, W) they are to be "
                "edited: shape=(3, 64, 64)."
            )
        # The generator edits images whose sides are multiples of 4.
        rounded = [max(4, round(side / 4) * 4) for side in sides]
        shape = (channels or steps.channels or 3, rounded[0], rounded[1])
    if steps.channels is None and channels is not None and channels != shape[0]:
        steps = replace(steps, channels=1 if channels == 1 else 3)
    if height and width and output_size(shape, steps)[1:] != (height, width):
        if steps.crop is not None or steps.size is not None:
            raise UserError(
                f"The {model.name} takes {height}x{width} images, the preprocessing makes "
                f"{'x'.join(map(str, output_size(shape, steps)[1:]))} ones; correct size or crop."
            )
        steps = replace(steps, size=(height, width))
    return shape, steps
