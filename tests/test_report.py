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

import numpy as np
import pytest
import torch
from PIL import Image

from explanation_folders import random_explanation, save_picture
from ifnormal.common.errors import UserError
from ifnormal.explanation.explanation import Explanation
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
        self.inline: dict[str, list[str]] = {"script": [], "style": [], "json": []}
        self.words: list[str] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        is_data = ("type", "application/json") in attrs
        self._inside = "json" if is_data else tag

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
    assert len(page.inline["script"]) == 2
    assert len(page.all("style")) == 1
    assert {script.get("type") for script in page.all("script")} <= {None, "application/json"}
    for text in page.inline["json"]:
        assert not set(text) & set("<>&'")
        json.loads(text)
    allowed = {
        "src": ("data:image/webp;base64,", "data:image/png;base64,"),
        "href": ("#", "data:,"),
    }
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
        digests = [b64encode(sha256(t.encode()).digest()).decode() for t in page.inline[kind]]
        assert rules[f"{kind}-src"].split() == [f"'sha256-{digest}'" for digest in digests]
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
    for word in (*HOSTILE[:2], HOSTILE[3], HOSTILE[5]):
        assert word in page.text
    assert "<b>run" in page.text
    assert "\\udc80 of a file system" in page.text
    assert r"日本語の異常 صورة \u202egnp" in page.text
    assert r"line\nbreak\r\n\ttab \x00 nul" in page.text
    assert max(map(len, page.words)) < 1000


def test_every_image_is_described_and_every_label_has_its_input(
    tmp_path: Path, make_explanation: MakeExplanation
) -> None:
    page = Page(write_report(full_run(tmp_path / "run", make_explanation, ("a", "b"))))
    shown = [image for image in page.all("img") if "src" in image]
    assert all(image["alt"] for image in shown)
    assert len(shown) >= 2 * 5
    links = {link["href"].removeprefix("#") for link in page.all("a")}
    numbers = {f"image-{n}" for n in (1, 2)}
    assert numbers <= links
    assert links - numbers <= page.ids
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def data(page: Page) -> dict[str, Any]:
    """What the page's script shows."""
    (index,) = [text for text in page.inline["json"] if '"images":' in text]
    return json.loads(index)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    scores = [0.9, 0.2, 0.6, 0.7, 0.3, 0.95, 0.1]
    random_explanation(tmp_path, n=7, scores=scores)
    page = Page(write_report(tmp_path, cards=1, shown=2))
    assert [image["n"] for image in data(page)["images"]] == [6, 1, 5, 2]
    assert [image["outcome"] for image in data(page)["images"]] == ["some"] * 2 + ["unflagged"] * 2
    assert "the 2 most anomalous of 4 explained images" in page.text
    assert "Of 3 images that were not explained, the 2 with the most anomalous scores" in page.text
    assert "The 1 most anomalous of 4, the highest first" in page.text
    assert "card-6" in page.ids
    assert "card-1" not in page.ids


def test_prompts_name_the_concepts_wherever_they_are_shown(tmp_path: Path) -> None:
    random_explanation(tmp_path, n=3)
    document = json.loads((tmp_path / "explanation.json").read_text())
    document["facts"] = {"generator": "inversion", "prompts": ["a 30 sign", "an 80 sign"]}
    write_json(tmp_path / "explanation.json", document)
    metrics = {"validity": [100.0, 0.0], "normality_auroc": 50.0}
    metrics["normality_auroc_per_concept"] = [60.0, 40.0]
    page = Page(write_report(tmp_path, metrics=metrics))
    assert data(page)["concepts"] == ["“a 30 sign”", "“an 80 sign”"]
    assert "one for each prompt: “a 30 sign” and “an 80 sign”." in page.text
    assert "without being told what they should mean" not in page.text
    assert page.text.count("Concept “a 30 sign”") == 1 + 3  # its own card, and one an image
    assert "(“a 30 sign” 60 and “an 80 sign” 40)" in page.text
    assert "“an 80 sign” 0.0 %" in page.text


@pytest.mark.parametrize("prompts", [["a sign"], ["a sign", "a sign"], ["a", 2], "ab", None])
def test_what_is_no_prompt_for_each_concept_is_no_name(tmp_path: Path, prompts: Any) -> None:
    random_explanation(tmp_path)
    document = json.loads((tmp_path / "explanation.json").read_text())
    write_json(tmp_path / "explanation.json", {**document, "facts": {"prompts": prompts}})
    assert data(Page(write_report(tmp_path)))["concepts"] == ["A", "B"]


def test_low_scores_may_be_the_bad_ones(tmp_path: Path) -> None:
    random_explanation(
        tmp_path,
        scores=[-3.0, -40.0, -12.5],
        edit_scores=[[-2.0, -30.0]] * 3,
        threshold=-10.0,
        calibrate=lambda score: 1 / (1 + np.exp(score / 10)),
        higher_is="normal",
    )
    page = Page(write_report(tmp_path))
    assert [image["n"] for image in data(page)["images"]] == [2, 3, 1]
    assert "the detector’s score rises to −10.0 or above" in page.text
    assert "−40.0 → −2.0" in page.text
    assert "Two of the three images are flagged." in page.text


def test_nothing_flagged_is_a_report_too(tmp_path: Path) -> None:
    random_explanation(tmp_path, scores=[0.1, 0.3, 0.2], skipped=[("a.png", "it is empty")])
    page = Page(write_report(tmp_path))
    assert "None of the three images is flagged." in page.text
    assert [image["n"] for image in data(page)["images"]] == [2, 3, 1]
    assert "1 file" in page.text
    assert "concepts" not in page.ids
    assert_harmless(page)


def test_no_image_at_all_is_a_report_too(tmp_path: Path) -> None:
    random_explanation(tmp_path, n=0, skipped=[("a.png", "it is empty")])
    page = Page(write_report(tmp_path))
    assert "None of the no images" not in page.text
    assert "a.png it is empty" in page.text


def test_beyond_the_budget_pictures_stay_beside_the_page(tmp_path: Path) -> None:
    random_explanation(tmp_path / "explanation", n=5)
    whole = Page(write_report(tmp_path))
    assert_policy(whole)
    details = [json.loads(text) for text in whole.inline["json"] if '"edits"' in text]
    assert [detail["image"][:11] for detail in details] == ["data:image/"] * 5
    budget = max(len(text) for text in whole.inline["json"] if '"edits"' in text) * 2 + 9
    page = Page(write_report(tmp_path, budget=budget))
    details = [json.loads(text) for text in page.inline["json"] if '"edits"' in text]
    assert [detail.get("linked", False) for detail in details] == [False] * 2 + [True] * 3
    for detail in details[2:]:
        edits = detail["edits"]
        for file in [
            detail["image"],
            *(e["image"] for e in edits),
            *(e["traversal"] for e in edits),
        ]:
            assert (tmp_path / file).is_file()
    assert "of the 3 least anomalous images are loaded from the folder beside it" in page.text
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert "img-src data: 'self' file:;" in policy


def test_a_heatmap_and_a_refinement_are_shown(tmp_path: Path) -> None:
    refined = {
        "why": "it missed the threshold",
        "score_before": 0.75,
        "valid_before": False,
        "mse_before": 0.5,
        "mse_after": 0.25,
    }
    other = {"thrifty": True, "kept_pixels": 12, "per_step": [1, 2]}
    extra = {(0, 1): {"refined": refined}, (1, 0): {"refined": other}}
    named = {0: {"heatmap": "images/000000_heatmap.png"}}
    random_explanation(tmp_path, extra=named, edit_extra=extra)
    for number in range(2):  # the second is there and not named
        file = tmp_path / "images" / f"{number:06d}_heatmap.png"
        save_picture(file, np.full((8, 9), 99, np.uint8))
    page = Page(write_report(tmp_path))
    first, *others = [json.loads(text) for text in page.inline["json"] if '"edits"' in text]
    assert first["heatmap"].startswith("data:image/")
    assert [detail["heatmap"] for detail in others] == [None] * 2
    found = {
        "why": "it missed the threshold",
        "scoreBefore": 0.75,
        "validBefore": False,
        "squaredChange": [0.5, 0.25],
    }
    assert [edit["refined"] for edit in first["edits"]] == [None, found]
    found = {
        "why": "thrifty yes, kept pixels 12",
        "scoreBefore": None,
        "validBefore": None,
        "squaredChange": [None, None],
    }
    assert others[0]["edits"][0]["refined"] == found
    assert "Refined from a score of 0.75" in page.text
    assert "2 of 6 counterfactuals were changed after the generator" in page.text
    assert "mean squared change of those 0.5 before, 0.25 now." in page.text
    alts = [image["alt"] for image in page.all("img")]
    assert [alt for alt in alts if "Heatmap" in alt] == [
        "Heatmap: Input gradient: what the score answers to in anomaly 1"
    ]


def test_a_lost_picture_is_named(tmp_path: Path) -> None:
    random_explanation(tmp_path)
    (tmp_path / "images" / "000001_concept0.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"000001_concept0\.png cannot be shown \(it is damaged\)"):
        write_report(tmp_path)
    (tmp_path / "images" / "000001_concept0.png").unlink()
    with pytest.raises(UserError, match=r"000001_concept0\.png cannot be shown \(it is missing\)"):
        write_report(tmp_path)


def test_a_failed_edit_is_marked_in_words(
    tmp_path: Path, make_explanation: MakeExplanation
) -> None:
    scores = torch.tensor([[0.9, 0.1]])
    replace(make_explanation(n=1), calibrated_scores_after=scores).save(tmp_path / "explanation")
    page = Page(write_report(tmp_path))
    assert "✕ still flagged" in page.text
    assert "✓ accepted" in page.text
    alts = [image["alt"] for image in page.all("img")]
    assert "Counterfactual of anomaly 1, concept A: still flagged by the detector" in alts


def test_a_strip_holds_one_frame_for_each_target(
    tmp_path: Path, tiny_explanation: Explanation
) -> None:
    tiny_explanation.save(tmp_path / "explanation")
    page = Page(write_report(tmp_path))
    assert data(page)["targets"] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    strips = [image for image in page.all("img") if "steps from anomaly" in image["alt"]]
    assert len(strips) == 2
    for strip in strips:
        png = Image.open(BytesIO(b64decode(strip["src"].partition(",")[2])))
        assert png.size == (4 * 9, 8)
    first = next(json.loads(text) for text in page.inline["json"] if '"scores":[0.' in text)
    assert [len(edit["scores"]) for edit in first["edits"]] == [4, 4]


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_keep_the_file_small(
    tmp_path: Path, make_explanation: MakeExplanation, channels: int
) -> None:
    make_explanation(n=2, m=2, channels=channels, size=300).save(tmp_path / "explanation")
    path = write_report(tmp_path)
    # Noise, which nothing can make small, as 2 times 11 pictures of 300 by 301 pixels.
    assert path.stat().st_size < 2_500_000
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
