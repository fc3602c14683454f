"""A picture of real output: the first anomalies of a run above their counterfactuals.

python studies/picture.py runs/demo docs/images/demo.png

The first ones in the order of the run, none left out for its result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ifnormal.common.pixels import to_pil
from ifnormal.explanation.explanation import Explanation

_SCALE, _GAP, _LABEL = 2, 6, 150
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=14)
    options = parser.parse_args()
    explanation = Explanation.load(options.run / "explanation")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture(explanation, options.count).save(options.out, optimize=True)
    print(options.out)


def picture(explanation: Explanation, count: int) -> Image.Image:
    """One row of anomalies, one row a concept, with the detector's score under each image."""
    rows = [("flagged as anomalous", explanation.anomalies, explanation.calibrated_scores_before)]
    for k in range(explanation.concepts):
        edits, scores = explanation.counterfactuals[:, k], explanation.calibrated_scores_after[:, k]
        rows.append((f"if normal, concept {'AB'[k] if k < 2 else k}", edits, scores))
    side = _SCALE * explanation.anomalies.shape[-1]
    width, height = _LABEL + count * (side + _GAP), len(rows) * (side + 22)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for r, (label, images, scores) in enumerate(rows):
        top = r * (side + 22)
        draw.text((4, top + side // 2 - 8), label, _INK, font)
        for n in range(count):
            left = _LABEL + n * (side + _GAP)
            image = to_pil(images[n]).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(image, (left, top))
            draw.text((left + side // 2, top + side + 9), f"{scores[n]:.2f}", _INK, font, "mm")
    return sheet


if __name__ == "__main__":
    main()
