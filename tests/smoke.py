"""The tests that `make test` runs. On a real kube-apiserver: one file per area, under two minutes together.

`make test-all` runs every test on both API servers.
"""

from collections.abc import Collection

from tests.servers.kube_apis import REAL, server_of

SMOKE_FILES = frozenset(
    {
        "tests/e2e/test_attachments_permissions.py",
        "tests/e2e/test_custom_roles.py",
        "tests/e2e/test_examples.py",
        "tests/e2e/test_grants.py",
        "tests/e2e/test_guardrails.py",
        "tests/e2e/test_identities.py",
        "tests/e2e/test_key_secrets.py",
        "tests/e2e/test_kubectl.py",
        "tests/e2e/test_permissions.py",
        "tests/e2e/test_projects.py",
        "tests/kube/test_admission_policy.py",
        "tests/kube/test_apply_twice.py",
        "tests/kube/test_client.py",
        "tests/kube/test_cluster_checks.py",
        "tests/kube/test_lease.py",
        "tests/kube/test_secrets.py",
    }
)


LEFT_OUT = frozenset({"package_index", "slow"})
"""Markers of tests that only `make test-all` runs."""


def is_smoke_test(nodeid: str, markers: Collection[str] = ()) -> bool:
    """Return whether `make test` runs this test: it needs no real API server, or it is in the smoke set."""
    if not LEFT_OUT.isdisjoint(markers):
        return False
    return server_of(nodeid) != REAL or nodeid.partition("::")[0] in SMOKE_FILES
