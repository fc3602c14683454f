"""The live page as a person meets it: in a real browser, by mouse, keys and files."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app_server import serving
from chromium import chromium, needs_chromium
from ifnormal.app.what_if import edit, scored
from ifnormal.common.pixels import png_bytes, to_pil
from known_detectors import red
from known_explainers import color_explainer

pytestmark = [
    pytest.mark.slow,
    needs_chromium,
    pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra app"),
]

_STEPS = 60


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("temporary"), _STEPS) as address:
        yield address


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


@pytest.fixture
def browser(address: str, tmp_path: Path, downloads: Path) -> Iterator[Any]:
    with chromium(tmp_path / "profile", downloads) as driver:
        driver.get(address)
        wait(driver, lambda: find(driver, "#upload input[type=file]"))
        yield driver


def find(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements("css selector", selector)
    return found


def wait(browser: Any, condition: Callable[[], Any]) -> Any:
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    # The page draws its panels anew; what was found a moment ago may be gone.
    patient = WebDriverWait(browser, 60, ignored_exceptions=[StaleElementReferenceException])
    return patient.until(lambda _: condition())


def upload(browser: Any, path: Path) -> None:
    find(browser, "#upload input[type=file]")[0].send_keys(str(path))


def scores(browser: Any) -> list[float]:
    return [float(element.text) for element in find(browser, "#panel .score")]


def shown(browser: Any, name: str) -> Any:
    """The pixels of a picture of the page."""
    source = find(browser, f".{name} img")[0].get_attribute("src")
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    to_pil(red(1, seed=7)[0]).save(path)
    return path


def test_what_if(browser: Any, photo: Path, downloads: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    explainer, image = color_explainer(_STEPS), red(1, seed=7)[0]
    assert "Drop an image in" in find(browser, "#panel")[0].text
    upload(browser, photo)
    wait(browser, lambda: len(scores(browser)) == 2)

    # The score of the image, and its counterfactual.
    before, after = scores(browser)
    assert before == pytest.approx(scored(explainer.detector, image[None])[0].score, rel=1e-3)
    assert before > 0.5, "it is flagged"
    assert after == pytest.approx(edit(explainer, image, 0.0, 0).score, rel=0.02)
    assert "flagged" in find(browser, "#panel .original")[0].text
    first = shown(browser, "edited")
    assert np.array_equal(shown(browser, "original"), image.permute(1, 2, 0).numpy())
    assert np.abs(first.astype(int) - shown(browser, "original")).mean() > 5

    # All concepts at once.
    assert len(find(browser, "#overview figure")) == 2
    assert np.array_equal(shown(browser, "concept-0"), first)
    other = shown(browser, "concept-1")

    # Another concept.
    find(browser, "#concept input")[1].click()
    wait(browser, lambda: "concept B" in find(browser, "#panel .edited")[0].text)
    assert np.array_equal(shown(browser, "edited"), other)
    assert not np.array_equal(other, first)

    # Another target, by the slider and its keys.
    slider = find(browser, "#target input[type=range]")[0]
    slider.send_keys(Keys.END)
    wait(browser, lambda: "scored 1.00" in find(browser, "#panel .edited")[0].text)
    anomalous = scores(browser)[1]
    assert anomalous > scores(browser)[0] * 0.9
    assert anomalous == pytest.approx(edit(explainer, image, 1.0, 1).score, rel=0.02)
    assert not np.array_equal(shown(browser, "edited"), other)
    slider.send_keys(Keys.HOME)
    wait(browser, lambda: "scored 0.00" in find(browser, "#panel .edited")[0].text)
    assert np.array_equal(shown(browser, "edited"), other)

    # What it shows can be kept.
    find(browser, "#panel .download")[0].click()
    saved = downloads / "counterfactual-B-0.00.png"
    wait(browser, saved.exists)
    assert np.array_equal(np.asarray(Image.open(saved)), other)

    # Nothing of it needed anything else than this server, and nothing went wrong.
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    here = ("http://127.0.0.1:", "data:", "blob:", "chrome:")
    assert [url for url in asked if not url.startswith(here)] == []
    assert any("queue/join" in url for url in asked)
    # Of a small file there is no progress left to tell when the page asks.
    errors = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert [e for e in errors if "upload_progress" not in e and e[-8:] != "Response"] == []


def test_hostile_files(browser: Any, photo: Path, tmp_path: Path) -> None:
    bomb, script, half = (tmp_path / name for name in ("bomb.png", "a'<b>.png", "half.png"))
    Image.new("1", (20_000, 20_000)).save(bomb)
    script.write_text("<img src=x onerror=\"document.title='hacked'\">")
    half.write_bytes(png_bytes(red(1)[0])[:70])
    for number, path in enumerate((bomb, script, half)):
        upload(browser, path)
        wait(browser, lambda: find(browser, "#panel [role=alert]"))
        text = find(browser, "#panel [role=alert]")[0].text
        assert text.startswith("The file cannot be read as an image"), path.name
        assert text.endswith(".")
        assert "Traceback" not in text
        assert scores(browser) == []
        # And the next one is served as if nothing had been.
        upload(browser, photo)
        wait(browser, lambda: len(scores(browser)) == 2)
        assert find(browser, "#panel [role=alert]") == [], number
    assert browser.title == "ifnormal"


def test_a_file_beyond_the_limit(browser: Any, photo: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(b"0" * (33 * 2**20))
    upload(browser, large)
    wait(browser, lambda: "maximum allowed size of 32.0 Mb" in find(browser, "body")[0].text)
    assert scores(browser) == []
    upload(browser, photo)
    wait(browser, lambda: len(scores(browser)) == 2)


def test_paths_are_refused(browser: Any, address: str) -> None:
    for path in ("gradio_api/file=/etc/passwd", "file=/etc/passwd", "gradio_api/info"):
        browser.get(f"{address}/{path}")
        assert find(browser, "body")[0].text == "This is not served here."
