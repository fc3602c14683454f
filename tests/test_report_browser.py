"""The report as a person meets it: in a real browser, by mouse, keys and links."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from chromium import chromium, needs_chromium
from explanation_folders import write_explanation
from ifnormal.report import write_report

pytest.importorskip("selenium")

pytestmark = needs_chromium

RED, GREEN, BLUE = (230, 20, 20), (20, 180, 20), (20, 20, 230)
THRESHOLD = 10.0
HOSTILE = (
    "<img src=x onerror=window.hacked=1>.png",
    "</script><script>window.hacked=2</script>",
    "\"'`]]><!--<script>window.hacked=3//",
    "line\nbreak \u2028 \u202egnp.exe",
    "${window.hacked=4}{{7*7}}",
    "日本語/異常.png",
)
# 61 flagged images are two pages; the first has the highest score.
FLAGGED = [30.0 - i / 10 for i in range(61)]
UNFLAGGED = [9.0, 8.0]


def solid(colour: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.full((8, 9, 3), colour, np.uint8)


def write(folder: Path, scores: list[float], **options: Any) -> Path:
    """Red anomalies, made green by concept A and blue by B; some edits are accepted."""
    n = len(scores)
    anomalies = np.stack([solid(RED)] * n)
    edits = np.stack([np.stack([solid(GREEN), solid(BLUE)])] * n)
    kinds = ([2.0, 3.0], [2.0, 12.0], [11.0, 12.0])  # all, some, none accepted
    edit_scores = [kinds[0 if i < 40 else 1 if i < 55 else 2] for i in range(n)]
    names = [HOSTILE[i] if i < len(HOSTILE) else f"line 3/{i:03d}.png" for i in range(n)]
    write_explanation(
        folder,
        anomalies,
        edits,
        scores,
        edit_scores,
        names=names,
        threshold=THRESHOLD,
        calibrate=lambda score: float(1 / (1 + np.exp((THRESHOLD - score) / 5))),
        frames=5,
        **options,
    )
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Reports by name: of many images, of none flagged, and one that needs its folder."""
    folder = tmp_path_factory.mktemp("reports")
    refined = {"why": "it missed the threshold </b>", "score_before": 12.5}
    bad = [(HOSTILE[0], "it is <b>truncated</b>"), ("b.png", "it is empty")]
    many = write(
        folder / "many",
        FLAGGED + UNFLAGGED,
        skipped=bad,
        edit_extra={(1, 1): {"refined": refined}},
    )
    none = write(folder / "none", UNFLAGGED)
    linked = write(folder / "linked" / "explanation", FLAGGED[:4]).parent
    budgets = {many: 24_000_000, none: 24_000_000, linked: 1}
    return {page.name: write_report(page, budget=size) for page, size in budgets.items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def browser(shared: Any) -> Iterator[Any]:
    """A window of 1280 by 900 pixels; whatever happens in it, the console stays empty."""
    resize(shared, 1280)
    prefer(shared, "prefers-reduced-motion", "reduce")  # what is clicked shall not be on its way
    yield shared
    assert shared.get_log("browser") == []
    assert shared.execute_script("return window.hacked") is None


def resize(browser: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(browser: Any, name: str, value: str, media: str = "") -> None:
    preferences = {"prefers-reduced-motion": "reduce", name: value}
    features = [{"name": name, "value": value} for name, value in preferences.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def open_page(browser: Any, page: Path, link: str = "") -> None:
    browser.get("about:blank")
    browser.get(page.as_uri() + link)


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def every(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements("css selector", selector)
    return found


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser, duration=0).send_keys(key).perform()


def keys() -> Any:
    from selenium.webdriver.common.keys import Keys

    return Keys


def numbers(browser: Any) -> list[int]:
    """The images whose thumbnails are shown."""
    script = (
        "return [...document.querySelectorAll('#tiles .tile')].map(t => Number(t.dataset.number))"
    )
    found: list[int] = browser.execute_script(script)
    return found


def opened(browser: Any) -> int | None:
    """The image that is open."""
    script = "const d = document.getElementById('detail');"
    script += "return d.open ? Number(d.querySelector('.number').textContent) : null"
    number: int | None = browser.execute_script(script)
    return number


def choose(browser: Any, selector: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(find(browser, selector)).select_by_value(value)


def pixels(element: Any) -> NDArray[np.uint8]:
    """What an element looks like, (H, W, 3)."""
    return np.asarray(Image.open(BytesIO(element.screenshot_as_png)).convert("RGB"))


def colour_at(element: Any, across: float) -> tuple[int, ...]:
    """The colour a fifth below the top of an element, `across` from left, 0, to right, 1."""
    shown = pixels(element)
    return tuple(shown[shown.shape[0] // 5, int(across * (shown.shape[1] - 1))].tolist())


def is_near(colour: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(colour, other, strict=True)) <= 4


def test_the_most_anomalous_come_first_page_by_page(
    browser: Any, pages: Mapping[str, Path]
) -> None:
    open_page(browser, pages["many"])
    assert numbers(browser) == list(range(1, 61))
    assert find(browser, "#count").text == "61 of 63 images"
    assert find(browser, "#page-number").text == "Page 1 of 2"
    find(browser, "#page-next").click()
    assert numbers(browser) == [61]
    assert not find(browser, "#page-next").is_enabled()
    choose(browser, "#sort", "normal")
    assert numbers(browser)[0] == 61
    choose(browser, "#sort", "name")
    assert numbers(browser)[-1] != 60
    choose(browser, "#sort", "input")
    assert numbers(browser) == list(range(1, 61))


def test_filters_filter_and_say_how_many(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["many"])
    options = [option.text for option in every(browser, "#filter-outcome option")]
    assert options[0] == "flagged (61)"
    assert "flagged, some accepted (15)" in options
    choose(browser, "#filter-outcome", "some")
    assert numbers(browser) == list(range(41, 56))
    assert find(browser, "#count").text == "15 of 63 images"
    choose(browser, "#filter-outcome", "none")
    assert numbers(browser) == list(range(56, 62))
    choose(browser, "#filter-outcome", "unflagged")
    assert find(browser, "#count").text == "2 of 63 images"
    assert every(browser, "#tiles button") == []
    find(browser, "#clear").click()
    assert len(numbers(browser)) == 60
    find(browser, "#score-low").send_keys("28.95")
    find(browser, "#score-high").send_keys("29.3")
    assert numbers(browser) == [8, 9, 10, 11]
    find(browser, "#filter-name").send_keys("008.PNG")
    assert numbers(browser) == [9]
    find(browser, "#filter-name").send_keys("?")
    assert find(browser, "#count").text.startswith("No image matches")


def test_an_image_opens_and_keys_lead_on(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["many"])
    tile = find(browser, "#tiles [data-number='7']")
    browser.execute_script("arguments[0].focus()", tile)
    press(browser, keys().ARROW_RIGHT, keys().ENTER)
    assert opened(browser) == 8
    assert browser.current_url.endswith("#image-8")
    assert find(browser, ".position").text == "8 of 61"
    press(browser, keys().ARROW_RIGHT, keys().ARROW_RIGHT, keys().ARROW_LEFT)
    assert opened(browser) == 9
    press(browser, keys().ESCAPE)
    assert opened(browser) is None
    assert "#image" not in browser.current_url
    assert browser.switch_to.active_element.get_attribute("data-number") == "9"
    press(browser, "?")
    assert find(browser, "#keys").is_displayed()
    assert "previous, next" in find(browser, "#keys").text
    press(browser, keys().ESCAPE)
    assert not find(browser, "#keys").is_displayed()


def test_opening_keeps_to_the_filter(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["many"])
    choose(browser, "#filter-outcome", "none")
    find(browser, "#tiles button").click()
    assert find(browser, ".position").text == "1 of 6"
    assert not find(browser, "#previous").is_enabled()
    for _ in range(5):
        find(browser, "#next").click()
    assert opened(browser) == 61
    assert not find(browser, "#next").is_enabled()


def test_the_slider_moves_picture_and_score(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["many"], "#image-1")
    panel = find(browser, ".panel")
    stage = panel.find_element("css selector", ".stage")
    assert panel.find_element("css selector", ".facts").text.split() == [
        *("✓", "accepted", "30.0", "→", "2.0")
    ]
    assert is_near(colour_at(stage, 0.7), GREEN)
    slider = panel.find_element("css selector", ".alpha input")
    slider.send_keys(keys().ARROW_LEFT * 2)
    assert opened(browser) == 1  # the arrow keys are the slider's
    assert panel.find_element("css selector", ".alpha output").text == "α 0.50"
    assert panel.find_element("css selector", ".now").text == "16.0"
    assert panel.find_element("css selector", ".outcome .word").text == "flagged"
    half = tuple(round((a + b) / 2) for a, b in zip(RED, GREEN, strict=True))
    assert is_near(colour_at(stage, 0.7), half)
    assert slider.get_attribute("aria-valuetext") == "α 0.50, score 16.0"
    slider.send_keys(keys().HOME)
    assert is_near(colour_at(stage, 0.7), RED)
    other = every(browser, ".panel")[1]
    assert other.find_element("css selector", ".now").text == "3.0"


def test_a_refined_edit_is_one_more_step(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["many"], "#image-2")
    panel = every(browser, ".panel")[1]
    assert "Refined from a score of 12.5: it missed the threshold </b>" in panel.text
    output = panel.find_element("css selector", ".alpha output")
    assert output.text == "refined"
    panel.find_element("css selector", ".alpha input").send_keys(keys().ARROW_LEFT)
    assert output.text == "α 0.00"


def test_the_divider_wipes_by_mouse_and_by_keys(browser: Any, pages: Mapping[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    open_page(browser, pages["many"], "#image-1")
    stage = find(browser, ".stage")
    assert [is_near(colour_at(stage, x), GREEN) for x in (0.2, 0.8)] == [True, True]
    wipe = find(browser, ".wipe")
    drag = ActionChains(browser, duration=50).move_to_element_with_offset(wipe, -40, 30)
    drag.click_and_hold().move_by_offset(40, 0).release().perform()
    assert is_near(colour_at(stage, 0.2), RED)
    assert is_near(colour_at(stage, 0.8), GREEN)
    share = int(wipe.get_attribute("value"))
    assert 45 <= share <= 55
    wipe.send_keys(keys().ARROW_RIGHT)
    assert wipe.get_attribute("value") == str(share + 1)
    wipe.send_keys(keys().END)
    assert is_near(colour_at(stage, 0.8), RED)
    assert wipe.get_attribute("aria-valuetext") == "100 % anomaly, 0 % edit"


def test_a_link_opens_its_image(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["many"], "#image-12")
    assert opened(browser) == 12
    press(browser, keys().ESCAPE)
    browser.execute_script("location.hash = '#image-61'")
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    assert opened(browser) == 61
    press(browser, keys().ESCAPE)
    assert numbers(browser) == [61]  # its page, so that one goes on from there
    open_page(browser, pages["many"], "#image-999")
    assert opened(browser) is None
    assert find(browser, "#count").text == "Image 999 is not in this gallery."


def test_hostile_names_are_only_words(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["many"], "#image-1")
    assert find(browser, "#detail-title bdi").text == HOSTILE[0]
    press(browser, keys().ARROW_RIGHT, keys().ARROW_RIGHT, keys().ARROW_RIGHT)
    shown = r"line\nbreak \u2028 \u202egnp.exe"
    assert find(browser, "#detail-title bdi").text == shown
    press(browser, keys().ESCAPE)
    skipped = find(browser, "#skipped").text
    assert HOSTILE[0] in skipped
    assert "it is <b>truncated</b>" in skipped
    assert "2 files" in find(browser, ".headlines").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_by_day_and_night(
    browser: Any, pages: Mapping[str, Path], scheme: str
) -> None:
    resize(browser, 375)
    prefer(browser, "prefers-color-scheme", scheme)
    open_page(browser, pages["many"])
    wide = "return document.documentElement.scrollWidth"
    assert browser.execute_script(wide) == 375
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 150) == (scheme == "dark")
    find(browser, "#tiles button").click()
    inside = "const d = document.getElementById('detail'); return [d.scrollWidth, d.clientWidth]"
    width, visible = browser.execute_script(inside)
    assert width == visible == 375


def test_where_nothing_is_flagged_the_scores_are_listed(
    browser: Any, pages: Mapping[str, Path]
) -> None:
    open_page(browser, pages["none"])
    assert "None of the two images is flagged." in find(browser, ".verdict").text
    assert find(browser, "#count").text == "2 of 2 images"
    assert [tile.text.split("\n")[1] for tile in every(browser, ".tile")] == ["9.00", "8.00"]
    open_page(browser, pages["none"], "#image-1")
    assert opened(browser) is None


def test_pictures_beside_the_page_are_shown_too(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["linked"], "#image-1")
    panel = find(browser, ".panel")
    stage = panel.find_element("css selector", ".stage")
    assert is_near(colour_at(stage, 0.7), GREEN)
    panel.find_element("css selector", ".alpha input").send_keys(keys().HOME)
    assert is_near(colour_at(stage, 0.7), RED)
    changed = panel.find_element("css selector", ".difference .window")
    subtracted = tuple(abs(a - b) for a, b in zip(RED, GREEN, strict=True))
    press(browser, keys().TAB)
    panel.find_element("css selector", ".alpha input").send_keys(keys().END)
    assert is_near(colour_at(changed, 0.5), subtracted)


@pytest.mark.slow
def test_a_lost_folder_is_said(browser: Any, pages: Mapping[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "alone.html"
    page.write_bytes(pages["linked"].read_bytes())
    open_page(browser, page, "#image-1")
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert every(browser, "figure.missing")
    assert {entry["source"] for entry in browser.get_log("browser")} == {"network"}


@pytest.mark.slow
def test_on_paper_there_are_cards_and_no_controls(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["many"])
    on_paper(browser)
    assert not find(browser, ".controls").is_displayed()
    cards = every(browser, "#cards .card")
    assert len(cards) == 24
    assert all(card.is_displayed() for card in cards)
    assert cards[0].value_of_css_property("break-inside") == "avoid"
    assert max(card.size["height"] for card in cards) < 900
    assert find(browser, "#cards .note").text == "The 24 most anomalous of 61, the highest first."
    pdf = b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")


@pytest.mark.slow
def test_what_is_filtered_or_open_is_what_is_printed(
    browser: Any, pages: Mapping[str, Path]
) -> None:
    open_page(browser, pages["many"])
    choose(browser, "#filter-outcome", "some")
    on_paper(browser)
    assert not find(browser, "#cards").is_displayed()
    cards = every(browser, "#chosen-cards .card")
    assert [card.text.split()[0] for card in cards] == [str(n) for n in range(41, 56)]
    assert "15 of 15 explained images that match" in find(browser, "#chosen-cards .note").text
    assert is_near(colour_at(cards[0].find_element("css selector", ".stage"), 0.7), GREEN)
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert every(browser, "#chosen-cards .card") == []
    prefer(browser, "prefers-color-scheme", "light")
    find(browser, "#tiles button").click()
    on_paper(browser)
    assert not find(browser, "main").is_displayed()
    assert find(browser, "#panels").is_displayed()
    assert not find(browser, ".buttons").is_displayed()


def on_paper(browser: Any) -> None:
    prefer(browser, "prefers-color-scheme", "light", media="print")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")


@pytest.mark.slow
def test_without_scripts_the_cards_lie_open(browser: Any, pages: Mapping[str, Path]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_page(browser, pages["many"])
        assert len(every(browser, "#cards .card")) == 24
        assert find(browser, "#card-1").is_displayed()
        assert not find(browser, ".controls").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        browser.get("about:blank")


@pytest.mark.slow
def test_nothing_moves_for_those_who_want_no_motion(
    browser: Any, pages: Mapping[str, Path]
) -> None:
    scrolling = "return getComputedStyle(document.documentElement).scrollBehavior"
    open_page(browser, pages["many"])
    assert browser.execute_script(scrolling) == "auto"
    prefer(browser, "prefers-reduced-motion", "no-preference")
    assert browser.execute_script(scrolling) == "smooth"
