"""The document of an explanation is read safely and in pieces, however it is laid out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.explanation.document import read_document, write_document
from ifnormal.explanation.entries import ExplainedImage, Head, SkippedImage
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.totals import Counts

HEAD = Head(concepts=2, shape=(1, 4, 4), own_threshold=3.5, calibrated_threshold=0.5)


@pytest.fixture
def saved(tiny_explanation: Explanation, tmp_path: Path) -> Path:
    tiny_explanation.save(tmp_path)
    return tmp_path


def edited(folder: Path, where: list[Any], value: Any) -> None:
    """Set one value of the document, or remove it."""
    document = read_json(folder / "explanation.json")
    *way, last = where
    inner: Any = document
    for key in way:
        inner = inner[key]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    (folder / "explanation.json").write_text(json.dumps(document))


def test_counts_and_entries(saved: Path, tiny_explanation: Explanation) -> None:
    document = read_document(saved)
    images = list(document.images())
    assert document.counts == Counts(
        images=3,
        flagged=3,
        explained=3,
        counterfactuals=6,
        valid=int(tiny_explanation.valid.sum()),
        skipped=0,
    )
    assert [image.path for image in images] == list(tiny_explanation.names)
    assert all((saved / str(image.file)).is_file() for image in images)
    assert [edit.concept for edit in images[0].counterfactuals] == [0, 1]
    traversal = images[0].counterfactuals[1].traversal
    assert traversal is not None
    assert list(traversal.own_scores) == tiny_explanation.calibrated_traversal_scores[0, 1].tolist()
    assert images[1].counterfactuals[0].traversal is None
    assert list(images) == list(document.images())  # as often as one likes


@given(
    st.lists(st.tuples(st.text(), st.floats(allow_nan=False, allow_infinity=False)), max_size=6),
    st.lists(st.tuples(st.text(), st.text()), max_size=3),
    st.sampled_from([None, 1, 7]),
    st.booleans(),
)
def test_any_layout_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    scored: list[tuple[str, float]],
    bad: list[tuple[str, str]],
    indent: int | None,
    sort: bool,
) -> None:
    folder = tmp_path_factory.mktemp("document")
    images = [ExplainedImage(path, score, 0.75, True) for path, score in scored]
    skipped = [SkippedImage(*pair) for pair in bad]
    write_document(folder, HEAD, images, skipped)
    value = read_json(folder / "explanation.json")
    assert value["skipped"] == [asdict(one) for one in skipped]
    text = json.dumps(value, indent=indent, sort_keys=sort, ensure_ascii=not sort)
    (folder / "explanation.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    document = read_document(folder)
    assert document.head == HEAD
    assert list(document.images()) == images
    assert list(document.skipped()) == skipped


def test_a_document_larger_than_a_piece_is_read_whole(tmp_path: Path) -> None:
    """Also values that lie across the borders of the pieces in which the file is read."""
    images = [ExplainedImage("é" * (n % 900), n / 7, 0.75, True) for n in range(1200)]
    long = ExplainedImage("x" * 300_000, 1.0, 0.75, True)
    write_document(tmp_path, HEAD, [*images, long, *images])
    path = tmp_path / "explanation.json"
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False), encoding="utf-8")
    assert list(read_document(tmp_path).images()) == [*images, long, *images]


EDIT = ["images", 0, "counterfactuals", 1]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["concepts"], 3, "2 counterfactuals of 3"),
        (["concepts"], True, "concepts"),
        (["concepts"], KeyError, "concepts"),
        (["images"], KeyError, "no list of images"),
        (["images"], {}, "no list of images"),
        (["skipped"], KeyError, "no list of skipped"),
        (["skipped"], ["a.png"], "skipped image 0"),
        (["detector"], [], "detector"),
        (["detector", "threshold"], "0.5", "threshold"),
        (["detector", "calibrated_threshold"], None, "calibrated_threshold"),
        (["detector", "higher_is"], "better", "higher_is"),
        (["detector", "shape"], [3, 8], "shape"),
        (["detector", "shape"], [2, 8, 9], "shape"),
        (["facts"], None, "facts"),
        (["traversal_targets"], [1.0], "instead of 1"),
        (["images", 2], 1, "image 2"),
        (["images", 1, "path"], 7, "image 1: path"),
        (["images", 1, "score"], True, "image 1: score"),
        (["images", 1, "flagged"], 1, "flagged"),
        (["images", 1, "file"], None, "2 counterfactuals"),
        (["images", 1, "counterfactuals"], [], "0 counterfactuals"),
        ([*EDIT, "concept"], 0, "of concept 0"),
        ([*EDIT, "concept_probabilities"], [1.0], "1 numbers instead of 2"),
        ([*EDIT, "valid"], None, "valid"),
        ([*EDIT, "score"], KeyError, "score"),
        ([*EDIT, "traversal", "scores"], [0.0] * 5, "scores"),
        ([*EDIT, "refined"], "yes", "refined"),
    ],
)
def test_what_does_not_fit_is_refused(
    saved: Path, where: list[Any], value: Any, message: str
) -> None:
    edited(saved, where, value)
    with pytest.raises(UserError, match=message) as refused:
        read_document(saved)
    assert str(saved / "explanation.json") in str(refused.value)


@pytest.mark.parametrize(
    "file",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "images/../../000000_anomaly.png",
        "images/../explanation.json",
        "images/000000_anomaly.png\n",
        "images/000000_anomaly.png/../x",
        "images\\000000_anomaly.png",
        "C:/000000_anomaly.png",
        "",
        5,
        ["images/000000_anomaly.png"],
    ],
)
@pytest.mark.parametrize(
    "where", [["images", 0, "file"], [*EDIT, "file"], [*EDIT, "traversal", "file"]]
)
def test_no_file_leads_out_of_the_folder(saved: Path, where: list[Any], file: object) -> None:
    edited(saved, where, file)
    with pytest.raises(UserError, match="is no picture of an explanation"):
        read_document(saved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format"}',
        '{"images": [1, 2',
        '{"images": [1 2]}',
        '{"images": []} {}',
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": ' + "[" * 100_000,
        "\xff\xfe{\x00}\x00",
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "explanation.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"explanation\.json"):
        read_document(tmp_path)


def test_cut_short_anywhere_it_is_refused(saved: Path) -> None:
    path = saved / "explanation.json"
    whole = path.read_bytes().rstrip()
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError):
            read_document(saved)


def test_a_writing_that_breaks_off_leaves_the_old_one(saved: Path) -> None:
    before = (saved / "explanation.json").read_bytes()
    bad = [ExplainedImage("a", 1.0, 0.75, True), ExplainedImage("b", float("nan"), 0.75, True)]
    with pytest.raises(ValueError, match="JSON compliant"):
        write_document(saved, HEAD, bad)
    assert (saved / "explanation.json").read_bytes() == before
    assert {path.name for path in saved.iterdir()} == {"images", "explanation.json"}


def test_saving_breaks_off_without_a_document(
    make_explanation: Callable[..., Explanation], saved: Path
) -> None:
    """The old document would name the new one's pictures."""
    broken = make_explanation()
    broken.calibrated_scores_after[2, 1] = float("inf")
    with pytest.raises(ValueError, match="JSON compliant"):
        broken.save(saved)
    with pytest.raises(UserError, match="does not exist"):
        Explanation.load(saved)
