"""Test `cloudrun-identity check` beside a running operator."""

import json
import subprocess
import sys

from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR, OPERATOR_NAMESPACE
from tests.time_budget import HUNG_AFTER


def test_check_passes_with_the_access_and_account_of_the_operator(scene: Scene) -> None:
    scene.ready(f"ManagedProject/{scene.name}")
    done = subprocess.run(
        [sys.executable, "-m", "cloudrun_identity", "check", "--output=json", *scene.stage.access()],
        capture_output=True,
        text=True,
        timeout=HUNG_AFTER,
    )
    results = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
    for check in ("API server", "CRDs", "RBAC", "Leader", f"ManagedProject {scene.name}: permissions"):
        assert results[check]["state"] == "Passed", results[check]
    assert OPERATOR in results["Google Cloud credentials"]["message"]
    assert f"Lease {OPERATOR_NAMESPACE}/" in results["Leader"]["message"]
