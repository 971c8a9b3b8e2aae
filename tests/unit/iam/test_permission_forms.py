"""Test permissions that are written with the domain of their service."""

import pytest

from cloudrun_identity.iam.escalation import Reach, escalating, group_of
from cloudrun_identity.iam.permission_forms import lacking, plain
from cloudrun_identity.iam.role_catalog import known_permissions
from cloudrun_identity.iam.role_permissions import is_listed

POOLS_GET = "iam.googleapis.com/workloadIdentityPools.get"


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        (POOLS_GET, "iam.workloadIdentityPools.get"),
        ("iam.workloadIdentityPools.get", "iam.workloadIdentityPools.get"),
        ("gcp.redisenterprise.com/databases.get", "gcp.redisenterprise.com/databases.get"),
    ],
)
def test_domain_of_a_google_service_is_left_out(permission: str, expected: str) -> None:
    assert plain(permission) == expected


def test_permission_is_held_in_either_form() -> None:
    assert lacking([POOLS_GET], ["iam.workloadIdentityPools.get"]) == frozenset()
    assert lacking(["iam.workloadIdentityPools.get"], [POOLS_GET]) == frozenset()
    assert lacking([POOLS_GET, "run.jobs.run"], ["iam.workloadIdentityPools.list"]) == {
        POOLS_GET,
        "run.jobs.run",
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (POOLS_GET, True),
        ("iam.workloadIdentityPools.*", True),
        ("iam.googleapis.com/*", True),
        ("iam.workforcePools.*", False),
        ("workloadIdentityPools.*", False),
    ],
)
def test_pattern_matches_the_form_with_and_without_the_domain(pattern: str, expected: bool) -> None:
    assert is_listed(POOLS_GET, [pattern]) is expected


def test_pattern_with_a_domain_matches_no_permission_without_one() -> None:
    assert not is_listed("iam.serviceAccounts.actAs", ["iam.googleapis.com/*"])


@pytest.mark.parametrize("reach", Reach)
def test_domain_does_not_hide_an_escalation(reach: Reach) -> None:
    known = [permission for permission in known_permissions() if "/" not in permission]
    disguised = {permission.replace(".", ".googleapis.com/", 1): permission for permission in known}
    escalate = escalating(known, reach)
    assert escalate
    assert {disguised[each] for each in escalating(disguised, reach)} == escalate


def test_permission_of_the_catalog_is_known_without_its_domain() -> None:
    assert escalating(["iam.workloadIdentityPools.delete"]) == frozenset()
    assert group_of("iam.googleapis.com/workloadIdentityPools.create") is not None
