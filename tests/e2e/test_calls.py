"""Test that calls to Google Cloud grow with policies and pages, not with objects."""

from collections import Counter

from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene

IDENTITIES = 12
ROLES = ("roles/viewer", "roles/cloudsql.client", "roles/logging.logWriter")


def identity(number: int) -> str:
    roles = ", ".join(f"{{role: {role}}}" for role in ROLES)
    return f"""
kind: CloudRunIdentity
metadata: {{name: worker-{number:02}}}
spec: {{roles: [{roles}]}}
"""


def test_identities_of_one_project_share_the_writes_of_its_policy(scene: Scene) -> None:
    names = [f"CloudRunIdentity/worker-{number:02}" for number in range(IDENTITIES)]
    scene.ready(f"ManagedProject/{scene.name}")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {driftInterval: 5m}")
    before = scene.cloud.calls()
    scene.apply("---".join(identity(number) for number in range(IDENTITIES)))
    scene.ready(*names)

    calls = scene.cloud.calls() - before
    holders = {scene.member(f"worker-{number:02}") for number in range(IDENTITIES)}
    assert {role: set(members) for role, members in scene.policy().items()} == dict.fromkeys(ROLES, holders)
    assert calls["IAM/CreateServiceAccount"] == IDENTITIES
    assert calls["Projects/SetIamPolicy"] <= 5
    assert calls["Projects/GetIamPolicy"] <= 8
    assert calls["IAM/SetIamPolicy"] == 0


def test_idle_resync_reads_each_policy_and_page_once(scene: Scene) -> None:
    scene.apply("---".join(identity(number) for number in range(IDENTITIES)))
    scene.ready(*(f"CloudRunIdentity/worker-{number:02}" for number in range(IDENTITIES)))

    def calls_since() -> Counter[str]:
        return scene.cloud.calls() - before

    before = scene.cloud.calls()
    calls = eventually(calls_since, lambda calls: calls["Projects/GetIamPolicy"] >= 3)

    # Each resync reads the policy and a page of accounts, and lists the keys of each account. The counts
    # differ by at most one, because the first and the last resync may be counted in part.
    resyncs = calls["IAM/ListServiceAccounts"] + 1
    assert calls["IAM/GetServiceAccount"] == 0
    assert calls["IAM/ListServiceAccountKeys"] <= resyncs * IDENTITIES
    for method, count in calls.items():
        assert count <= resyncs or method == "IAM/ListServiceAccountKeys", method
        assert method.rpartition("/")[2].startswith(("Get", "List", "Test")), method
