from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ifnormal.errors import UserError
from ifnormal.explanation import Explanation
from ifnormal.report import write_report

MakeExplanation = Callable[..., Explanation]

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=https://example.org/x onerror=alert(1)>",
    "line\nbreak\r\n\ttab \x00 nul",
    "</title></style></script><svg onload=alert(1)>",
    "日本語の異常 صورة \u202egnp",
    "{{ 7 * 7 }}{% raw %}",
    "\udc80 of a file system",
    "long " * 2000,
)


class Page(HTMLParser):
    """Everything that a browser would make of the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.inline:
            self.inline[self._inside].append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.elements if "id" in attributes}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def full_run(folder: Path, make: MakeExplanation, words: tuple[str, ...]) -> Path:
    n = len(words)
    explanation = replace(make(n=n), names=words)
    explanation.save(folder / "explanation")
    replace(make(n=n, k=1, m=0), names=words).save(folder / "gradient")
    write_json(
        folder / "truth.json",
        {
            "is_normal": [[True, False]] * n,
            "verdicts": [[word, word] for word in words],
            "gradient_is_normal": [[False]] * n,
            "gradient_verdicts": [[word] for word in words],
        },
    )
    metrics = {"validity": [90.0, 80.0], "fid_n": 70.0, "fid_extractor": words[0], "new": words[0]}
    write_json(folder / "metrics.json", metrics)
    options = {word: word for word in words}
    write_json(folder / "config.json", {"seed": 1, "setup": {"normal": words[0]}, "more": options})
    for part in ("detector", "explainer"):
        lines = [json.dumps({"step": i, words[0]: i / 7, "total": -i}) + "\n" for i in range(9)]
        (folder / part).mkdir()
        (folder / part / "losses.jsonl").write_text("".join(lines))
    return folder


def assert_harmless(page: Page) -> None:
    assert len(page.all("script")) == len(page.all("style")) == 1
    allowed = {"src": ("data:image/png;base64,",), "href": ("#", "data:,")}
    for tag, attributes in page.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            assert key not in ("style", "srcset", "action", "formaction", "http-equiv") or (
                value == "Content-Security-Policy"
            )
            if key in allowed:
                assert value.startswith(allowed[key]), (tag, value)
    assert not {tag for tag, _ in page.elements} & {"iframe", "object", "embed", "base", "form"}


def assert_policy(page: Page) -> None:
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        (text,) = page.inline[kind]
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    names = [tag for tag, _ in page.elements]
    assert names.index("style") > next(
        i for i, (_, attributes) in enumerate(page.elements) if "http-equiv" in attributes
    )


def test_only_an_explanation_makes_a_report(tmp_path: Path, tiny_explanation: Explanation) -> None:
    tiny_explanation.save(tmp_path / "explanation")
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    page = Page(path)
    assert {"gallery", "making", "card-1", "card-3"} <= page.ids
    assert not {"contrast", "figures", "training"} & page.ids
    assert "no independent judge has looked at them" in page.text
    assert_harmless(page)
    assert_policy(page)


def test_a_full_run_has_every_section(tmp_path: Path, make_explanation: MakeExplanation) -> None:
    page = Page(write_report(full_run(tmp_path / "run", make_explanation, ("red 7", "blue 2"))))
    assert {"gallery", "contrast", "figures", "training", "making"} <= page.ids
    assert "red 7" in page.text
    assert "Normal here is red 7." in page.text
    assert "validity alone proves nothing" in page.text
    assert "Normalised FID [red 7]" in page.text
    assert len(page.all("polyline")) == 4
    assert_harmless(page)
    assert_policy(page)


def test_hostile_words_stay_words(tmp_path: Path, make_explanation: MakeExplanation) -> None:
    page = Page(write_report(full_run(tmp_path / "<b>run", make_explanation, HOSTILE)))
    assert_harmless(page)
    assert_policy(page)
    for word in HOSTILE[:2] + HOSTILE[3:6]:
        assert word in page.text
    assert "<b>run" in page.text
    assert "\\udc80 of a file system" in page.text
    assert max(map(len, page.words)) < 1000


def test_every_image_is_described_and_every_label_has_its_input(
    tmp_path: Path, make_explanation: MakeExplanation
) -> None:
    page = Page(write_report(full_run(tmp_path / "run", make_explanation, ("a", "b"))))
    assert all(image["alt"] for image in page.all("img"))
    targets = [label["for"] for label in page.all("label")]
    assert targets
    assert set(targets) <= page.ids
    links = [link["href"] for link in page.all("a")]
    assert {link.removeprefix("#") for link in links} <= page.ids
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_gallery_is_limited_and_the_rest_is_counted(
    tmp_path: Path, make_explanation: MakeExplanation
) -> None:
    make_explanation(n=9).save(tmp_path / "explanation")
    page = Page(write_report(tmp_path, cards=4))
    assert "card-4" in page.ids
    assert "card-5" not in page.ids
    assert "The first 4 of 9 anomalies" in page.text


def test_a_failed_edit_is_marked_in_words(
    tmp_path: Path, make_explanation: MakeExplanation
) -> None:
    scores = torch.tensor([[0.9, 0.1]])
    replace(make_explanation(n=1), scores_after=scores).save(tmp_path / "explanation")
    page = Page(write_report(tmp_path))
    assert "✕ still flagged" in page.text
    assert "✓ accepted" in page.text
    alts = [image["alt"] for image in page.all("img")]
    assert "Counterfactual of anomaly 1, concept A: still flagged by the detector" in alts


def test_a_strip_holds_one_frame_for_each_position_of_the_slider(
    tmp_path: Path, tiny_explanation: Explanation
) -> None:
    tiny_explanation.save(tmp_path / "explanation")
    page = Page(write_report(tmp_path))
    (slider,) = page.all("input")
    assert (slider["max"], slider["value"]) == ("3", "3")
    assert len(slider["data-targets"].split(" ")) == 4
    strips = [image for image in page.all("img") if "steps from anomaly" in image["alt"]]
    assert len(strips) == 2
    for strip in strips:
        png = Image.open(BytesIO(b64decode(strip["src"].partition(",")[2])))
        assert png.size == (4 * 9, 8)
    assert len([item for item in page.all("li") if item.get("data-score")]) == 8


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_keep_the_file_small(
    tmp_path: Path, make_explanation: MakeExplanation, channels: int
) -> None:
    make_explanation(n=8, m=8, channels=channels, size=300).save(tmp_path / "explanation")
    path = write_report(tmp_path)
    assert path.stat().st_size < 6_000_000
    assert "card-1" in Page(path).ids


def test_a_report_replaces_the_last_one_and_leaves_no_other_file(
    tmp_path: Path, tiny_explanation: Explanation
) -> None:
    tiny_explanation.save(tmp_path / "explanation")
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["explanation", "report.html"]


def test_without_an_explanation_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        write_report(tmp_path)
