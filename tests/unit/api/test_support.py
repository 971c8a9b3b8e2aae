from typing import Any

import pytest

from cloudrun_identity.api import KINDS, unsupported

MINIMAL: dict[str, dict[str, Any]] = {
    "ManagedProject": {},
    "CloudRunIdentity": {"projectRef": {"name": "p"}},
    "IAMBinding": {
        "projectRef": {"name": "p"},
        "target": {"kind": "Project"},
        "role": "roles/viewer",
        "members": [{"principal": "user:ada@example.com"}],
    },
    "IdentityAttachment": {
        "projectRef": {"name": "p"},
        "workload": {"kind": "Job", "location": "europe-west1", "name": "j"},
        "identityRef": {"name": "ci"},
    },
}
MEMBERS = [{"principal": "user:ada@example.com"}]


def grants(**entry: Any) -> dict[str, Any]:
    return {"guardrails": {"grants": [{"roles": ["*"], "on": ["Project"], "members": ["*"], **entry}]}}


def complaints(kind: str, change: dict[str, Any]) -> list[str]:
    spec = {**MINIMAL[kind], **change}
    return unsupported(KINDS[kind].model_validate({"metadata": {"name": "x"}, "spec": spec}))


@pytest.mark.parametrize(
    ("kind", "change", "complaint"),
    [
        (
            "CloudRunIdentity",
            {"unmanagedKeys": "Ignore"},
            'spec.unmanagedKeys: "Ignore" is not supported yet; use "Report"',
        ),
    ],
)
def test_what_is_not_supported_yet_is_refused_by_name(
    kind: str, change: dict[str, Any], complaint: str
) -> None:
    assert complaints(kind, change) == [complaint]


@pytest.mark.parametrize("kind", MINIMAL)
def test_defaults_are_supported(kind: str) -> None:
    assert complaints(kind, {}) == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (
            "ManagedProject",
            {
                "projectID": "payments-prod-1234",
                "suspend": True,
                "managementPolicy": "Observe",
                "driftInterval": "10s",
                "locations": ["europe-west1"],
                "namespaces": {"names": ["payments"], "selector": {"matchLabels": {"a": "b"}}},
                "guardrails": {
                    "defaultGrants": False,
                    "grants": [
                        {
                            "roles": ["roles/run.*"],
                            "on": ["Project", "Service"],
                            "names": ["*"],
                            "members": ["identities"],
                            "namespaces": ["payments"],
                            "allowEscalation": True,
                        }
                    ],
                    "workloads": [{"namespaces": ["payments"], "kinds": ["Job"]}],
                    "accounts": ["a@b"],
                    "adoptableAccounts": ["a@b"],
                    "naming": {"requireDisplayName": False},
                },
            },
        ),
        (
            "CloudRunIdentity",
            {
                "accountID": "checkout",
                "displayName": "Checkout",
                "description": "d",
                "disabled": True,
                "adoption": "Adopt",
                "roles": [{"role": "roles/cloudsql.client"}],
                "users": MEMBERS,
                "tokenCreators": MEMBERS,
                "allowedNamespaces": ["flows"],
                "deletionPolicy": "Abandon",
                "deletionProtection": "None",
                "disableBeforeDelete": "24h",
                "whenDeleted": "Recreate",
                "whenDisabled": "Report",
                "whenReplaced": "Regrant",
            },
        ),
        (
            "IAMBinding",
            {"target": {"kind": "ServiceAccount", "email": "a@b"}, "deletionPolicy": "Abandon"},
        ),
        ("IdentityAttachment", {"identityRef": {"name": "ci", "namespace": "builds"}, "suspend": True}),
        ("IdentityAttachment", {"identityRef": None, "email": "a@b", "deletionPolicy": "Restore"}),
    ],
)
def test_what_is_served_passes(kind: str, change: dict[str, Any]) -> None:
    assert complaints(kind, change) == []


def test_a_ledger_is_never_refused() -> None:
    target = {"kind": "Secret", "projectID": "p", "name": "s", "fullName": "//s"}
    ledger = KINDS["PolicyLedger"].model_validate({"metadata": {"name": "x"}, "spec": {"target": target}})

    assert unsupported(ledger) == []
