"""Take the pictures of the web page for the documentation, over the sample cluster.

    python -m tools.ui_pictures [DIRECTORY]

Needs Chromium: apt-get install chromium chromium-driver. If `pngquant` is installed, it makes the
files smaller.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.browser import Theme, browser, missing
from tools.sample_cluster import SampleCluster
from tools.sample_page import served

IMAGES = Path(__file__).parents[1] / "docs" / "images"

WIDTH, HEIGHT = 1360, 880

IDENTITIES = 240
"""Identities of the sample beside those with a story."""

PICTURES: tuple[tuple[str, Theme, str], ...] = (
    ("ui-light.png", "light", "#/identities/payments/checkout"),
    ("ui-dark.png", "dark", "#/identities/payments/checkout"),
    ("ui-overview.png", "light", "#/"),
)
"""File, theme and fragment of each picture."""

STARTS_WITHIN = 30.0


def main(directory: Path) -> None:
    """Write all pictures to a directory."""
    if problem := missing():
        sys.exit(problem)
    directory.mkdir(parents=True, exist_ok=True)
    with served(SampleCluster.acme(IDENTITIES)) as url:
        for name, theme, fragment in PICTURES:
            take(url + fragment, theme, directory / name)
            print(directory / name)


def take(url: str, theme: Theme, path: Path) -> None:
    """Take one picture."""
    with browser(theme=theme, width=WIDTH, height=HEIGHT) as driver:
        driver.get(url)
        deadline = time.monotonic() + STARTS_WITHIN
        ready = "return document.querySelector('path.edge, #attention') !== null"
        while not driver.execute_script(ready):
            if time.monotonic() > deadline:
                sys.exit(f"{url} shows nothing after {STARTS_WITHIN:g} s")
            time.sleep(0.2)
        driver.save_screenshot(str(path))
    if quantize := shutil.which("pngquant"):
        subprocess.run([quantize, "--force", "--ext=.png", "--speed=1", str(path)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
