"""The web page of a real operator: a drift and its repair appear live, in Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.pages import Page
from tests.e2e.processes import Command
from tests.e2e.scene import Scene
from tools.browser import browser, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture
def url(scene: Scene, tmp_path: Path) -> Iterator[str]:
    """URL of the page that the command serves for the namespace of the scene."""
    arguments = ["ui", "--port=0", f"--kubeconfig={scene.stage.kube_api.kubeconfig}", "-n", scene.name]
    command = Command(arguments, tmp_path / "ui.log")
    try:
        yield command.wait_for_line(r"(http://127\.0\.0\.1:\d+/)")[1]
    finally:
        command.stop()


def test_drift_and_its_repair_appear_live_in_the_browser(scene: Scene, url: str) -> None:
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles: [{role: roles/cloudsql.client}]
  tokenCreators: [{principal: "group:ops@example.com"}]
""")
    scene.ready("CloudRunIdentity/checkout")
    with browser() as driver:
        page = Page(driver, url)
        page.shows("#identities", "checkout")
        page.run("location.hash = arguments[0]", f"#/identities/{scene.name}/checkout")
        page.shows(".graph", "creates tokens for it")
        page.run("location.hash = '#/'")
        page.shows("#drift", "Drift")
        scene.cloud.remove(scene.project, "roles/cloudsql.client", scene.member("checkout"))
        page.shows(".drift", "roles/cloudsql.client")
        page.shows(".drift .state", "Repaired")
        assert page.violations() == []
        assert all(each.startswith(url) for each in page.requested())
