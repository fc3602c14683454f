"""The result is checked when made, and comes back from disk as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import png_bytes, quantize, to_float
from ifnormal.common.storage import read_json, write_json
from ifnormal.explanation.explanation import Explanation

Maker = Callable[..., Explanation]


def assert_identical(a: Explanation, b: Explanation) -> None:
    for field in dataclasses.fields(Explanation):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, Tensor):
            assert x.dtype == y.dtype, field.name
            assert torch.equal(x, y), field.name
        else:
            assert x == y, field.name


def pixels(path: Path) -> Tensor:
    """A PNG as (C, H, W)."""
    array = np.array(Image.open(path))
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"channels": 1},
        {"n": 1},
        {"n": 1, "k": 1, "m": 0},
        {"m": 0, "t": 0},
        {"m": 3, "k": 4},
        {"n": 0, "m": 0},
    ],
    ids=str,
)
def test_saved_and_loaded_is_identical(
    make_explanation: Maker, tmp_path: Path, numbers: dict[str, int]
) -> None:
    explanation = make_explanation(**numbers)
    explanation.save(tmp_path)
    assert_identical(Explanation.load(tmp_path), explanation)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pngs_are_the_scored_pixels(
    make_explanation: Maker, tmp_path: Path, channels: int
) -> None:
    explanation = make_explanation(channels=channels)
    explanation.save(tmp_path)
    images = read_json(tmp_path / "explanation.json")["images"]
    assert len(images) == len(explanation)
    for n, image in enumerate(images):
        assert torch.equal(pixels(tmp_path / image["file"]), explanation.anomalies[n])
        assert len(image["counterfactuals"]) == explanation.concepts
        for k, edit in enumerate(image["counterfactuals"]):
            assert torch.equal(pixels(tmp_path / edit["file"]), explanation.counterfactuals[n, k])
    frames = explanation.traversals[0, 1]
    way = pixels(tmp_path / images[0]["counterfactuals"][1]["traversal"]["file"])
    assert torch.equal(way, torch.cat(list(frames), 2))


def test_own_units_come_back_as_they_were(make_explanation: Maker, tmp_path: Path) -> None:
    """Own scores may be of any size; a float32 survives JSON, whatever its digits."""
    explanation = make_explanation(m=2)
    assert torch.equal(explanation.own_scores_after, explanation.calibrated_scores_after)
    assert explanation.own_threshold == explanation.threshold
    explanation = dataclasses.replace(
        explanation,
        own_scores_before=torch.tensor([1e-30, -3.4e38, 16777217.0]),
        own_scores_after=torch.randn(3, 2) * 1e5,
        own_traversal_scores=torch.randn(2, 2, 4) / 3,
        own_threshold=-1 / 3,
        higher_is="normal",
        detector={"name": "forest", "spec": "a:b", "parity": {"n": 3}},
        refined=((None, {"steps": 3}), (None, None), ({"steps": 1}, None)),
        heatmaps=torch.randint(0, 256, (3, 8, 9), dtype=torch.uint8),
    )
    explanation.save(tmp_path)
    assert_identical(Explanation.load(tmp_path), explanation)
    detector = read_json(tmp_path / "explanation.json")["detector"]
    assert detector == {
        **explanation.detector,
        "threshold": -1 / 3,
        "calibrated_threshold": 0.5,
        "higher_is": "normal",
        "shape": [3, 8, 9],
    }


def test_heatmaps_belong_to_their_images(make_explanation: Maker, tmp_path: Path) -> None:
    hot = torch.arange(3, dtype=torch.uint8)[:, None, None].expand(3, 8, 9)
    explanation = dataclasses.replace(make_explanation(), heatmaps=hot)
    explanation.select([0, 2]).save(tmp_path)
    files = [image["heatmap"] for image in read_json(tmp_path / "explanation.json")["images"]]
    assert files == ["images/000000_heatmap.png", "images/000001_heatmap.png"]
    loaded = Explanation.load(tmp_path)
    assert loaded.heatmaps is not None
    assert loaded.heatmaps[:, 0, 0].tolist() == [0, 2]
    (tmp_path / files[1]).write_bytes(b"")
    with pytest.raises(UserError, match="000001_heatmap"):
        Explanation.load(tmp_path)
    make_explanation().save(tmp_path)
    assert not list(tmp_path.glob("images/*_heatmap.png"))


def test_failed_counterfactuals_stay_with_their_score(
    tiny_explanation: Explanation, tmp_path: Path
) -> None:
    scores = torch.tensor([[0.0, 0.5], [0.50001, 1.0], [0.3, float("nan")]])
    explanation = dataclasses.replace(tiny_explanation, calibrated_scores_after=scores)
    assert explanation.valid.tolist() == [[True, True], [False, False], [True, False]]

    explanation = dataclasses.replace(
        tiny_explanation, calibrated_scores_after=scores.nan_to_num(0.9)
    )
    explanation.save(tmp_path)
    edits = read_json(tmp_path / "explanation.json")["images"][1]["counterfactuals"]
    assert [edit["valid"] for edit in edits] == [False, False]
    assert [edit["calibrated_score"] for edit in edits] == pytest.approx([0.50001, 1.0])
    assert torch.equal(Explanation.load(tmp_path).valid, explanation.valid)


NAMES = ("../../escape", "/absolute", "a\0b", "con\n.png", "<script>", "", "x" * 500, "\udcff")


def test_hostile_names_do_not_become_file_names(make_explanation: Maker, tmp_path: Path) -> None:
    explanation = make_explanation(n=len(NAMES), k=1, m=0)
    explanation = dataclasses.replace(explanation, names=NAMES)
    folder = tmp_path / "run"
    explanation.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    kinds = ("anomaly", "concept0")
    expected = {f"{n:06d}_{kind}.png" for n in range(len(NAMES)) for kind in kinds}
    assert {path.name for path in (folder / "images").iterdir()} == expected
    assert {path.name for path in folder.iterdir()} == {"images", "explanation.json"}
    assert Explanation.load(folder).names == NAMES


def test_saving_a_smaller_one_leaves_no_picture_of_the_larger(
    make_explanation: Maker, tmp_path: Path
) -> None:
    make_explanation(n=3, k=3).save(tmp_path)
    (tmp_path / "images" / "000001_notes.png").write_bytes(b"the user's own")
    make_explanation(n=1, k=2).save(tmp_path)
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        "000000_anomaly.png",
        "000000_concept0.png",
        "000000_concept0_way.png",
        "000000_concept1.png",
        "000000_concept1_way.png",
        "000001_notes.png",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anomalies": torch.zeros(3, 8, 9, dtype=torch.uint8)}, "anomalies"),
        ({"anomalies": torch.zeros(3, 2, 8, 9, dtype=torch.uint8)}, "1 or 3"),
        ({"anomalies": torch.zeros(2, 3, 8, 9, dtype=torch.uint8)}, "counterfactuals"),
        ({"anomalies": torch.zeros(3, 1, 8, 9, dtype=torch.uint8)}, "counterfactuals"),
        ({"anomalies": torch.zeros(3, 3, 8, 9)}, "anomalies must be uint8"),
        ({"heatmaps": torch.zeros(3, 8, 9)}, "heatmaps must be uint8"),
        ({"heatmaps": torch.zeros(3, 1, 8, 9, dtype=torch.uint8)}, "heatmaps"),
        ({"counterfactuals": torch.zeros(3, dtype=torch.uint8)}, "counterfactuals"),
        ({"counterfactuals": torch.zeros(3, 2, 3, 8, 9)}, "counterfactuals must be uint8"),
        ({"calibrated_scores_before": torch.zeros(2)}, "calibrated_scores_before"),
        ({"calibrated_scores_after": torch.zeros(3)}, "calibrated_scores_after"),
        ({"calibrated_scores_after": torch.zeros(2, 3)}, "calibrated_scores_after"),
        ({"concept_probabilities": torch.zeros(3, 2)}, "concept_probabilities"),
        ({"traversal_targets": torch.zeros(5)}, "traversal_targets"),
        ({"traversals": torch.zeros(1)}, "traversals"),
        ({"traversals": torch.zeros(1, 2, 4, 3, 8, 9)}, "traversals must be uint8"),
        ({"traversals": torch.zeros(1, 2, 4, 3, 8, 8, dtype=torch.uint8)}, "traversals"),
        ({"calibrated_traversal_scores": torch.zeros(2, 2, 4)}, "calibrated_traversal_scores"),
        ({"names": ("one", "two")}, "2 names"),
        ({"own_scores_before": torch.zeros(2)}, "own_scores_before"),
        ({"own_scores_after": torch.zeros(3)}, "own_scores_after"),
        ({"own_traversal_scores": torch.zeros(2, 2, 4)}, "own_traversal_scores"),
        ({"refined": ((None,), (None,), (None,))}, "refined"),
    ],
)
def test_what_does_not_fit_is_refused(
    tiny_explanation: Explanation, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_explanation, **changes)


def test_no_more_traversals_than_anomalies(make_explanation: Maker) -> None:
    with pytest.raises(ValueError, match="2 traversals for 1 anomalies"):
        make_explanation(n=1, m=2)


class TestLoadRefuses:
    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="does not exist"):
            Explanation.load(tmp_path / "nowhere")

    @pytest.mark.parametrize("change", [{"format": "other"}, {"schema_version": 1}])
    def test_other_format(
        self, tiny_explanation: Explanation, tmp_path: Path, change: dict[str, Any]
    ) -> None:
        tiny_explanation.save(tmp_path)
        path = tmp_path / "explanation.json"
        write_json(path, {**read_json(path), **change})
        with pytest.raises(UserError, match="not an explanation of schema version 2 or 3"):
            Explanation.load(tmp_path)

    def test_edited_scores(self, tiny_explanation: Explanation, tmp_path: Path) -> None:
        tiny_explanation.save(tmp_path)
        path = tmp_path / "explanation.json"
        value = read_json(path)
        value["images"][0]["flagged"] = not value["images"][0]["flagged"]
        write_json(path, value)
        with pytest.raises(UserError, match="flagged or valid"):
            Explanation.load(tmp_path)

    def test_pictures_that_are_gone_or_damaged(
        self, tiny_explanation: Explanation, tmp_path: Path
    ) -> None:
        tiny_explanation.save(tmp_path)
        for path in sorted((tmp_path / "images").iterdir()):
            good = path.read_bytes()
            flipped = bytearray(good)
            flipped[len(good) // 2] ^= 4
            other = png_bytes(torch.zeros(3, 4, 4, dtype=torch.uint8))
            for bad in (None, b"", good[: len(good) // 2], bytes(flipped), other, b"GIF89a" + good):
                path.unlink() if bad is None else path.write_bytes(bad)
                with pytest.raises(UserError, match=path.name):
                    Explanation.load(tmp_path)
            path.write_bytes(good)
        Explanation.load(tmp_path)


def test_explanations_compare_by_identity(make_explanation: Maker) -> None:
    a, b = make_explanation(), make_explanation()
    assert a == a
    assert a != b
    assert len({a, b}) == 2


def test_quantize_keeps_every_level_and_clamps() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(quantize(to_float(levels)), levels)
    values = torch.tensor([-0.5, 0.0019, 0.0021, 1.5], requires_grad=True)
    assert quantize(values).tolist() == [0, 0, 1, 255]


@given(st.sampled_from([1, 3]), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_png_is_lossless(channels: int, height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)
    array = np.array(Image.open(BytesIO(png_bytes(image))))
    assert torch.equal(
        torch.from_numpy(array.reshape(height, width, channels)).permute(2, 0, 1), image
    )


def replaced(explanation: Explanation, where: list[list[bool]]) -> tuple[Explanation, Tensor]:
    """Two black counterfactuals with scores of their own, and where they are."""
    mask = torch.tensor(where)
    count, k = int(mask.sum()), explanation.concepts
    return explanation.with_counterfactuals(
        mask,
        torch.zeros(count, *explanation.anomalies.shape[1:], dtype=torch.uint8),
        own_scores=torch.arange(count) + 70.0,
        calibrated_scores=torch.arange(count) / 100,
        concept_probabilities=torch.eye(k)[torch.arange(count) % k],
    ), mask


def test_other_counterfactuals_bring_their_scores(tiny_explanation: Explanation) -> None:
    kept = tiny_explanation.counterfactuals.clone()
    changed, where = replaced(tiny_explanation, [[True, False], [False, False], [False, True]])
    assert (changed.counterfactuals[where] == 0).all()
    assert changed.own_scores_after[where].tolist() == [70, 71]
    assert changed.calibrated_scores_after[where].tolist() == pytest.approx([0, 0.01])
    assert changed.concept_probabilities[where].tolist() == [[1, 0], [0, 1]]
    for name in ("counterfactuals", "own_scores_after", "concept_probabilities"):
        assert torch.equal(getattr(changed, name)[~where], getattr(tiny_explanation, name)[~where])
    assert torch.equal(tiny_explanation.counterfactuals, kept)


def test_traversals_end_at_the_other_counterfactuals(make_explanation: Maker) -> None:
    before = make_explanation(m=2)
    changed, where = replaced(before, [[True, False], [False, False], [False, True]])
    last = changed.traversals[:, :, -1]
    assert (last[where[: len(last)]] == 0).all()
    assert changed.own_traversal_scores[0, 0, -1] == 70
    assert changed.calibrated_traversal_scores[0, 0, -1] == 0
    assert torch.equal(changed.traversals[:, :, :-1], before.traversals[:, :, :-1])
    assert torch.equal(last[~where[: len(last)]], before.traversals[:, :, -1][~where[: len(last)]])


def test_what_was_said_of_the_replaced_is_forgotten(tiny_explanation: Explanation) -> None:
    said = dataclasses.replace(tiny_explanation, refined=(({"why": "a"}, {"why": "b"}),) * 3)
    changed, _ = replaced(said, [[True, False], [False, False], [False, True]])
    assert changed.refined[0] == (None, {"why": "b"})
    assert changed.refined[2] == ({"why": "a"}, None)
