"""What the live page says, without a server: scores, edits, uploads, and the HTML of them."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ifnormal.app import figures
from ifnormal.app import uploads as uploads_module
from ifnormal.app.uploads import read_upload, take_contents
from ifnormal.app.what_if import (
    Scored,
    Units,
    edit,
    edit_in_all_concepts,
    scored,
    units,
)
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import png_bytes
from ifnormal.detectors.detector import Detector
from known_detectors import COLOR, blue, mean_color, red
from known_explainers import color_explainer


def log_odds(image: Tensor) -> float:
    return 12 * float(image[0].float().mean() - image[2].float().mean()) / 255


class OwnUnits(Detector):
    """Mean colour, scored as 100 times blueness: low is anomalous, below -10 flagged."""

    shape, higher_is, own_threshold = COLOR, "normal", -10.0
    threshold = float(torch.tensor(0.1).sigmoid())

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return mean_color().inspect(images)

    def own_units(self, log_odds: Tensor) -> Tensor:
        return -100 * log_odds


class TestScores:
    def test_are_the_detectors(self) -> None:
        images = torch.cat([red(2), blue(1)])
        found = scored(mean_color(), images)
        for image, one in zip(images, found, strict=True):
            assert torch.equal(one.image, image)
            assert one.score == pytest.approx(1 / (1 + np.exp(-log_odds(image))), abs=1e-5)
            assert one.own_score == pytest.approx(one.score)
        assert [one.flagged for one in found] == [True, True, False]

    def test_in_units_of_its_own(self) -> None:
        detector, images = OwnUnits(), torch.cat([red(1), blue(1)])
        assert units(detector) == Units(-10.0, "normal")
        anomaly, normal = scored(detector, images)
        assert anomaly.own_score == pytest.approx(-100 * log_odds(images[0]), rel=1e-4)
        assert anomaly.own_score < -10 < normal.own_score
        assert (anomaly.flagged, normal.flagged) == (True, False)


class TestEdits:
    image = red(1, seed=7)[0]

    def test_are_what_the_explainer_explains_with(self) -> None:
        explainer = color_explainer()
        explained = explainer.explain(self.image[None], traversals=0)
        every = edit_in_all_concepts(explainer, self.image)
        for k, one in enumerate(every):
            assert torch.equal(one.image, explained.counterfactuals[0, k])
            assert one.score == pytest.approx(
                explained.calibrated_scores_after[0, k].item(), abs=1e-6
            )
            alone = edit(explainer, self.image, 0.0, k)
            assert torch.equal(alone.image, one.image)
            assert alone.score == pytest.approx(one.score, abs=1e-6)
        assert len(every) == 2

    def test_follow_target_and_concept(self) -> None:
        explainer = color_explainer()
        low, high, other = (
            edit(explainer, self.image, *how).image for how in ((0, 0), (1, 0), (0, 1))
        )
        assert low.shape == self.image.shape
        assert low.dtype == torch.uint8
        assert not torch.equal(low, high)
        assert not torch.equal(low, other)

    @pytest.mark.parametrize("target", [-0.1, 1.1, float("nan")])
    def test_no_such_target(self, target: float) -> None:
        with pytest.raises(UserError, match="between 0 and 1"):
            edit(color_explainer(), self.image, target, 0)

    @pytest.mark.parametrize("concept", [-1, 2])
    def test_no_such_concept(self, concept: int) -> None:
        with pytest.raises(UserError, match="0 to 1"):
            edit(color_explainer(), self.image, 0.0, concept)


def bomb() -> bytes:
    """A PNG of a few kilobytes that claims, and has, 20,000 x 20,000 pixels."""
    buffer = BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


class TestUploads:
    def test_are_brought_to_the_detectors_size(self) -> None:
        image = read_upload(png_bytes(torch.full((3, 40, 30), 77, dtype=torch.uint8)), (3, 16, 16))
        assert torch.equal(image, torch.full((3, 16, 16), 77, dtype=torch.uint8))

    def test_are_made_grey_for_a_grey_detector(self) -> None:
        image = read_upload(png_bytes(red(1)[0]), (1, 16, 16))
        assert image.shape == (1, 16, 16)

    def test_that_have_the_size_stay_bit_for_bit(self) -> None:
        assert torch.equal(read_upload(png_bytes(red(1)[0]), (3, 16, 16)), red(1)[0])

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "empty|no known image format"),
            (b"<script>alert(1)</script>", "no known image format"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no known image format"),
            (png_bytes(red(1)[0])[:60], "The file cannot be read"),
        ],
    )
    def test_that_are_no_images(self, content: bytes, reason: str) -> None:
        with pytest.raises(UserError, match=reason):
            read_upload(content, (3, 16, 16))

    def test_that_are_bombs(self) -> None:
        content = bomb()
        assert len(content) < 200_000
        with pytest.raises(UserError, match="The file cannot be read"):
            read_upload(content, (3, 16, 16))

    def test_for_a_detector_of_many_channels(self) -> None:
        with pytest.raises(UserError, match="1 or 3 channels"):
            read_upload(png_bytes(red(1)[0]), (4, 16, 16))  # type: ignore[arg-type]


class TestTakingUploads:
    @pytest.fixture
    def uploads(self, tmp_path: Path) -> Path:
        (tmp_path / "uploads").mkdir()
        (tmp_path / "secret").write_bytes(b"secret")
        return tmp_path / "uploads"

    def test_leaves_nothing_on_disk(self, uploads: Path) -> None:
        (uploads / "a").write_bytes(b"picture")
        assert take_contents(str(uploads / "a"), uploads) == b"picture"
        assert list(uploads.iterdir()) == []

    def test_neither_reads_nor_removes_anything_else(self, uploads: Path) -> None:
        secret = uploads.parent / "secret"
        (uploads / "link").symlink_to(secret)
        for path in (secret, uploads / ".." / "secret", uploads / "link", None):
            with pytest.raises(UserError, match="no file"):
                take_contents(None if path is None else str(path), uploads)
        assert secret.read_bytes() == b"secret"

    def test_refuses_what_is_too_large(
        self, uploads: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads_module, "LARGEST_UPLOAD", 2**20)
        (uploads / "a").write_bytes(b"0" * (2**20 + 1))
        with pytest.raises(UserError, match="larger than 1 MB"):
            take_contents(str(uploads / "a"), uploads)
        assert list(uploads.iterdir()) == []


def one(image: Tensor, score: float, own: float | None = None, flagged: bool = False) -> Scored:
    return Scored(image, score, score if own is None else own, flagged)


def pictures(page: str) -> list[Image.Image]:
    found = re.findall(r'<img [^>]*src="data:image/png;base64,([^"]+)"', page)
    return [Image.open(BytesIO(base64.b64decode(data))) for data in found]


class TestFigures:
    before, after = torch.zeros(2, 3, 8, 9, dtype=torch.uint8)
    after[1] = 200

    def test_show_the_pixels_that_were_scored(self) -> None:
        page = figures.comparison(
            one(self.before, 0.9, flagged=True), one(self.after, 0.1), Units(0.4, "anomalous"), 0, 1
        )
        original, edited, changed = pictures(page)
        assert np.array_equal(np.asarray(original), self.before.permute(1, 2, 0).numpy())
        assert np.array_equal(np.asarray(edited), self.after.permute(1, 2, 0).numpy())
        assert (changed.mode, changed.size) == ("RGBA", (9, 8))
        assert np.asarray(changed)[..., 3].min() > 0, "every pixel changed"
        link = re.search(r'download="([^"]+)" href="data:image/png;base64,([^"]+)"', page)
        assert link
        assert link[1] == "counterfactual-B-0.00.png"
        assert base64.b64decode(link[2]) == png_bytes(self.after)
        assert "above <b" in page
        assert re.findall(r'class="score">([^<]+)', page) == ["0.9", "0.1"]
        assert ("score <b" in page, page.count("flagged</p>"), page.count("accepted</p>")) == (
            True,
            1,
            1,
        )

    def test_grey_images(self) -> None:
        page = figures.comparison(
            one(self.before[:1], 0.9), one(self.after[:1], 0.1), Units(0.4, "anomalous"), 0.25, 0
        )
        assert [picture.mode for picture in pictures(page)] == ["L", "L", "RGBA"]

    def test_units_of_the_detectors_own(self) -> None:
        page = figures.comparison(
            one(self.before, 0.9, -1234.56, True),
            one(self.after, 0.1, 5e-7),
            Units(-3.25, "normal"),
            0,
            0,
        )
        assert re.findall(r'class="score">([^<]+)', page) == ["-1235", "5e-07"]
        assert 'below <b class="threshold">-3.25' in page
        assert "(0.90 of 1)" in page

    def test_all_concepts(self) -> None:
        edits = [one(self.after, 0.1), one(self.after, 0.6, flagged=True), one(self.before, 0.2)]
        page = figures.all_concepts(
            one(self.before, 0.9, flagged=True), edits, Units(0.4, "anomalous")
        )
        assert len(pictures(page)) == 3
        assert "accepts 2 of 3" in page
        assert "little to explain" not in page
        unflagged = figures.all_concepts(one(self.before, 0.1), edits, Units(0.4, "anomalous"))
        assert "little to explain" in unflagged

    def test_complaints_are_text(self) -> None:
        page = figures.complaint("<script>alert(1)</script>\nis no image.")
        assert "<script>" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt; is no image." in page
        assert 'role="alert"' in page
