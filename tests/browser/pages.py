"""What tests do with the web page in a browser: open it, press keys, and read what it shows and requests."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tests.e2e.eventually import eventually

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

Found = TypeVar("Found")

VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
"""Script that records violations of the Content-Security-Policy, from before the page loads."""


class Page:
    """The web page in a browser, from the point of view of a person."""

    def __init__(self, driver: "Chrome", url: str) -> None:
        self._driver = driver
        self.url = url
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": VIOLATIONS})
        driver.get_log("performance")  # forget the requests of other pages
        driver.get_log("browser")
        self.open()

    def open(self, fragment: str = "") -> None:
        """Load the page with a fragment."""
        self._driver.get("about:blank")  # or else the browser only changes the fragment
        self._driver.get(self.url + fragment)
        self.until(lambda: self.text("#main"))

    def prefers(self, scheme: str) -> None:
        """Let the system of the reader prefer a color scheme: `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the result of a script."""
        return self._driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """Return the text of the first element; empty if there is none."""
        found = self.run("return document.querySelector(arguments[0])?.innerText", selector)
        return str(found or "")

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
        return list(self.run(script, selector))

    def until(self, read: Callable[[], Found]) -> Found:
        """Wait until `read` returns a true value."""
        return eventually(read, bool)

    def shows(self, selector: str, text: str) -> None:
        """Wait until the element contains the text."""
        eventually(lambda: self.text(selector), lambda found: text in found)

    def press(self, *keys: str) -> None:
        """Press keys in whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self._driver).send_keys(key).perform()

    def focused(self) -> str:
        """Return the ID of the focused element, or its text."""
        return str(self.run("return document.activeElement.id || document.activeElement.innerText"))

    def violations(self) -> list[str]:
        """Return the violations of the Content-Security-Policy, and errors in the console."""
        logged = [entry["message"] for entry in self._driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [*self.run("return window.violations"), *logged]

    def requested(self) -> set[str]:
        """Return the URLs that the browser requested since the page was created."""
        entries = [json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")]
        sent = [
            each["params"]["request"] for each in entries if each["method"] == "Network.requestWillBeSent"
        ]
        return {each["url"] for each in sent} - {"about:blank"}
