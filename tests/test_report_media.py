"""The report elsewhere: on a phone, by night, on paper, without scripts, motion or its folder."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chromium import (
    choose,
    colour_at,
    every,
    find,
    is_near,
    keys,
    needs_chromium,
    open_page,
    prefer,
    press,
    resize,
)
from report_pages import GREEN, RED

pytest.importorskip("selenium")

pytestmark = needs_chromium


def on_paper(browser: Any) -> None:
    prefer(browser, "prefers-color-scheme", "light", media="print")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")


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
