"""The web page in Chromium, over 1,000 identities: find one and follow its graph, in both themes."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from cloudrun_identity.kube.errors import KubeError
from tests.browser.pages import Page
from tools.browser import browser, missing
from tools.sample_cluster import SampleCluster
from tools.sample_objects import ago, attachment, drift
from tools.sample_page import served

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

IDENTITIES = 1000


@pytest.fixture(scope="module")
def driver() -> Iterator["Chrome"]:
    with browser() as driver:
        yield driver


@pytest.fixture(scope="module")
def sample() -> SampleCluster:
    return SampleCluster.acme(IDENTITIES)


@pytest.fixture(scope="module")
def url(sample: SampleCluster) -> Iterator[str]:
    with served(sample) as url:
        yield url


@pytest.fixture
def page(driver: "Chrome", url: str) -> Iterator[Page]:
    page = Page(driver, url)
    yield page
    assert page.violations() == []
    assert {each for each in page.requested() if not each.startswith(url)} == set()


def test_overview_shows_what_needs_a_person_and_drift(page: Page) -> None:
    page.shows("#main", "Denied by guardrail")
    assert "Repaired after 3 s" in page.text("#main")
    assert {"user:dana@acme.example", "google.cloud.run.v2.Services.UpdateService"} <= set(
        page.texts(".cause > *")
    )
    assert "Change feed" in page.text(".change-feed")
    assert page.text(".list-count") == "1,007 identities"
    assert page.texts(".tile strong")[0] == "3"


def test_long_list_draws_only_its_visible_part(page: Page) -> None:
    assert len(page.texts("[role=option]")) < 40
    page.run("document.getElementById('identities').scrollTop = 1e6")
    page.until(lambda: page.run("return document.querySelector('[aria-posinset=\"1007\"]') !== null"))
    assert len(page.texts("[role=option]")) < 40
    assert page.run("return document.querySelector('[role=option]').getAttribute('aria-setsize')") == "1007"


def test_keyboard_finds_an_identity_and_follows_its_graph(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.press("/")
    assert page.focused() == "search"
    page.press(*"checkout@")
    page.shows(".list-count", "1 of 1,007")
    page.press(Keys.ARROW_DOWN, Keys.ENTER)
    page.shows("#main h1", "checkout")
    assert page.focused() == "main"
    page.until(lambda: page.run("return document.querySelectorAll('path.edge').length") == 13)
    for _ in range(12):  # from the path and the graph to the first identity in it
        page.press(Keys.TAB)
        if page.focused().startswith("Identity\nflow-runner"):
            break
    page.press(Keys.ENTER)
    page.shows("#main h1", "flow-runner")
    assert "warehouse-loader" in page.text(".graph")


def test_keyboard_moves_through_the_list_and_the_tabs(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.run("document.getElementById('identities').focus()")
    page.press(Keys.END)
    page.until(
        lambda: (
            page.run("return document.activeElement.getAttribute('aria-activedescendant')") == "option-1006"
        )
    )
    page.press(Keys.HOME, Keys.ARROW_DOWN, Keys.ENTER)
    page.shows("#main h1", "reports")
    page.until(lambda: page.text("#tab-actors"))
    page.run("document.getElementById('tab-actors').focus()")
    page.press(Keys.ARROW_RIGHT)
    page.shows("#panel-permits", "roles/editor")
    page.press(Keys.ARROW_RIGHT)
    page.shows("#panel-recommendations", "There is no recommendation")
    page.press(Keys.ARROW_RIGHT)
    page.shows("#panel-story", "Stalled is True")
    assert page.focused() == "tab-story"


def test_identity_shows_recommendations_keys_and_last_use(page: Page) -> None:
    page.open("#/identities/payments/checkout")
    page.shows(".identity-facts", "Last used")
    page.run("document.getElementById('tab-recommendations').click()")
    page.shows("#panel-recommendations", "roles/cloudsql.viewer")
    page.run("document.getElementById('tab-story').click()")
    page.shows("#panel-story", "user:dana@acme.example")
    page.open("#/identities/payments/ledger-export")
    page.shows("#panel-actors", "Created 412d ago")
    assert "Last used" in page.text("#panel-actors")


def test_filter_by_risk_keeps_the_risky_identities(page: Page) -> None:
    page.run("document.querySelector('.filter-keys').click()")
    page.until(lambda: page.texts("[role=option] .row-name") == ["ledger-export"])
    assert page.run("return document.querySelector('.filter-keys').ariaPressed") == "true"


def test_every_filter_is_fast_with_a_thousand_identities(page: Page) -> None:
    script = """
        const done = arguments[0], field = document.getElementById("search"), start = performance.now();
        field.value = "support-worker";
        field.dispatchEvent(new Event("input", { bubbles: true }));
        (function wait() {
          const rows = document.querySelectorAll("[role=option]");
          if (rows.length && [...rows].every((row) => row.dataset.key.includes("support-worker")))
            done(performance.now() - start);
          else requestAnimationFrame(wait);
        })();
    """
    seconds = [page._driver.execute_async_script(script) / 1000 for _ in range(3)]
    assert min(seconds) < 1, seconds


def test_drift_and_its_repair_appear_without_reload(page: Page, sample: SampleCluster) -> None:
    moved = attachment("web", "live", "acme-payments", "storefront")
    detected = ago()
    sample.put(
        moved | {"status": moved["status"] | {"drift": drift(1, "account changed", detected=detected)}}
    )
    page.shows("#main", "Not repaired")
    assert "web/live" in page.text(".drift")
    found = drift(1, "account changed", detected=detected, repaired=detected)
    sample.put(moved | {"status": moved["status"] | {"drift": found}})
    page.shows(".drift li", "Repaired at once")
    page.until(
        lambda: any(
            "Drift of IdentityAttachment live repaired" in each for each in page.texts("[role=status]")
        )
    )


def test_failing_cluster_is_reported_and_recovers(page: Page, sample: SampleCluster) -> None:
    sample.error = KubeError(500, "InternalError", "etcd is down")
    page.shows(".banner", "etcd is down")
    assert page.text("#attention")  # the last known state
    sample.error = None
    page.until(lambda: not page.text(".banner"))
    page._driver.get_log("browser")  # the browser logs the failed requests as errors


def test_theme_follows_the_system_until_the_reader_chooses(page: Page) -> None:
    def background() -> str:
        return str(page.run("return getComputedStyle(document.body).backgroundColor"))

    light = background()
    page.run("document.querySelector('.icon-button').click()")
    page.until(lambda: background() != light)
    page.open()
    assert background() != light
    page.run("localStorage.clear(); delete document.documentElement.dataset.theme")
    assert background() == light


COLORS = """
const probe = document.body.appendChild(document.createElement("i"));
const found = {};
for (const rule of document.styleSheets[0].cssRules[0].style) {
  if (!rule.startsWith("--")) continue;
  probe.style.color = "";
  probe.style.color = `var(${rule})`;
  found[rule] = getComputedStyle(probe).color;
}
probe.remove();
return found;
"""
"""Script that returns the colors of the theme, by custom property."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_chosen_theme_has_the_colors_of_the_system_theme(page: Page, theme: str) -> None:
    other = {"light": "dark", "dark": "light"}[theme]
    try:
        page.prefers(theme)
        by_system = page.run(COLORS)
        page.prefers(other)
        assert page.run(COLORS)["--bg"] != by_system["--bg"]
        page.run("document.documentElement.dataset.theme = arguments[0]", theme)
        assert page.run(COLORS) == by_system
        assert len(by_system) > 20
    finally:
        page.prefers("light")


CONTRAST = """
const luminance = (rgb) => {
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = rgb.map((v) => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const parse = (color) => color.match(/[\\d.]+/g).map(Number);
const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const color = parse(getComputedStyle(each).backgroundColor);
    if (color.length < 4 || color[3] === 1) return color.slice(0, 3);
  }
  return [255, 255, 255];
};
const found = new Set();
for (const element of document.querySelectorAll("#app *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || element.closest(".visually-hidden, svg, option") || !element.offsetParent) continue;
  const [a, b] = [luminance(parse(getComputedStyle(element).color).slice(0, 3)), luminance(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.add(`${element.className || element.tagName}: ${ratio.toFixed(2)}`);
}
return [...found];
"""


@pytest.mark.parametrize(
    "fragment", ["", "#/identities/web/storefront", "#/identities/platform/project-factory"]
)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(page: Page, theme: str, fragment: str) -> None:
    page.open(fragment)
    page.run("document.documentElement.dataset.theme = arguments[0]", theme)
    page.until(lambda: page.text("#attention, .graph"))
    assert page.run(CONTRAST) == []


UNNAMED = """
return [...document.querySelectorAll("button, a, input, select, [role=tab], [role=option], [tabindex='0']")]
  .filter((each) => !(each.getAttribute("aria-label") || each.getAttribute("aria-labelledby")
    || each.innerText?.trim() || each.labels?.[0]?.innerText.trim()))
  .map((each) => each.outerHTML);
"""


@pytest.mark.parametrize("fragment", ["", "#/identities/payments/checkout"])
def test_every_control_has_a_name(page: Page, fragment: str) -> None:
    page.open(fragment)
    page.until(lambda: page.text("#attention, .graph"))
    assert page.run(UNNAMED) == []
    assert page.run("return document.querySelectorAll('main').length") == 1
    assert len(page.texts("h1")) == 1


def test_first_state_of_a_thousand_identities_appears_quickly(page: Page) -> None:
    started = time.monotonic()
    page.open()
    page.shows(".list-count", "1,007 identities")
    assert time.monotonic() - started < 10
