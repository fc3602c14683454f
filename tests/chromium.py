"""A headless Chromium for tests of pages, with nothing of its own to say or to fetch.

And what a person does with it: open a page, find, press, choose, look.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--force-device-scale-factor=1", "--window-size=1280,900"),
)

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no chromium with chromedriver"
)


@contextmanager
def chromium(profile: Path, downloads: Path | None = None) -> Iterator[Any]:
    """A browser with a fresh profile; skips the test where selenium is missing.

    Its logs tell of the console and, for `performance`, of every request.
    """
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def shared_chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One for all tests of a file that only look at pages."""
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def browser(shared_chromium: Any) -> Iterator[Any]:
    """A window of 1280 by 900 pixels; whatever happens in it, the console stays empty."""
    resize(shared_chromium, 1280)
    # What is clicked shall not be on its way.
    prefer(shared_chromium, "prefers-reduced-motion", "reduce")
    yield shared_chromium
    assert shared_chromium.get_log("browser") == []
    assert shared_chromium.execute_script("return window.hacked") is None


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
    # What a key sets off, such as the closing of a dialog, is told to the page a task later.
    browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0]))")


def keys() -> Any:
    from selenium.webdriver.common.keys import Keys

    return Keys


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
