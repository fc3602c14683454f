"""The report as a person meets it: in a real browser, by mouse, keys and links."""

from __future__ import annotations

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
    press,
)
from report_pages import GREEN, HOSTILE, RED, numbers, opened

pytest.importorskip("selenium")

pytestmark = needs_chromium


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


def test_second_opinions_are_shown_and_filtered(browser: Any, pages: Mapping[str, Path]) -> None:
    open_page(browser, pages["asked"])
    options = [option.text for option in every(browser, "#filter-second option")]
    assert options == [
        "any answer (3)",
        "an edit that all accept (1)",
        "no edit that all accept (2)",
        "an edit only the detector accepts (2)",
    ]
    tiles = every(browser, "#tiles button .others")
    assert [tile.text for tile in tiles] == ["2/2 2/2 others", "0/2 0/2 others", "1/2 0/2 others"]
    label = find(browser, "#tiles [data-number='3']").get_attribute("aria-label")
    assert label.endswith(
        "2 of 2 edits accepted, accepted by independent detectors: 1/2 0/2 others"
    )
    choose(browser, "#filter-second", "all")
    assert numbers(browser) == [1]
    choose(browser, "#filter-second", "not")
    assert numbers(browser) == [2, 3]
    find(browser, "#clear").click()
    choose(browser, "#filter-second", "alone")
    assert numbers(browser) == [2, 3]
    find(browser, "#tiles button").click()
    assert opened(browser) == 2
    panel = find(browser, ".panel")
    assert panel.find_element("css selector", ".badge").text == (
        "✕✕ accepted by 0 of 2 independent detectors"
    )
    assert panel.find_element("css selector", ".asked").text.split("\n") == [
        "✕ mvg 0.75 → 0.75 (threshold 0.50)",
        "✕ padim 0.75 → 0.75 (threshold 0.50)",
    ]


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


def test_where_nothing_is_flagged_the_scores_are_listed(
    browser: Any, pages: Mapping[str, Path]
) -> None:
    open_page(browser, pages["none"])
    assert "None of the two images is flagged." in find(browser, ".verdict").text
    assert find(browser, "#count").text == "2 of 2 images"
    assert [tile.text.split("\n")[1] for tile in every(browser, ".tile")] == ["9.00", "8.00"]
    open_page(browser, pages["none"], "#image-1")
    assert opened(browser) is None
