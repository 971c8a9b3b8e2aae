"""Settings of projects: credentials, limits and protected members."""

import itertools
from typing import Any

import pytest

from cloudrun_identity.api import ProjectOperator
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.gcp.client_pool import OWN, Credential, NoCredential
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.manager.cache import Cache
from cloudrun_identity.manager.project_settings import DEFAULT_RESYNC_INTERVAL, JITTER, ProjectSettings
from cloudrun_identity.reconcile.cluster_state import project_key
from tests.unit.manager.kinds import unconnected

ACCOUNT = "cri@ops-1234.iam.gserviceaccount.com"
VERSIONS = itertools.count(1)
VALID = {"projectID": "shop-1234", "credentials": {"impersonateServiceAccount": ACCOUNT}}
OWN_OPERATOR = ProjectOperator(namespace="operator", lease="cloudrun-identity")
OTHER = ProjectOperator(namespace="first", lease="cloudrun-identity")
INVALID = {**VALID, "driftInterval": "often"}


@pytest.fixture
def cache() -> Cache:
    return cache_of(None)


def cache_of(operator: ProjectOperator | None) -> Cache:
    none: Any = None
    project = ManagedProjectController(none, none, none, none, str, none, none, none, none, none)
    kinds: Any = {"ManagedProject": unconnected(project)}
    return Cache(kinds, Ledgers(none, "operator"), lambda keys: None, operator=operator)


def observe(
    cache: Cache,
    spec: object,
    *,
    name: str = "shop",
    created: str | None = None,
    deleted: bool = False,
    status: object = None,
) -> None:
    metadata = {"name": name, "uid": f"u-{name}", "resourceVersion": str(next(VERSIONS))}
    if created:
        metadata["creationTimestamp"] = created
    raw = {"kind": "ManagedProject", "metadata": metadata, "spec": spec, "status": status or {}}
    cache.observe(raw, deleted=deleted)


def test_declared_credential_is_used_in_its_project_only(cache: Cache) -> None:
    observe(cache, VALID)
    assert ProjectSettings(cache).credential("shop-1234") == Credential(ACCOUNT)
    assert ProjectSettings(cache).credential("somewhere") == OWN


def test_never_valid_project_has_no_credential(cache: Cache) -> None:
    observe(cache, INVALID)
    with pytest.raises(NoCredential) as raised:
        ProjectSettings(cache).credential("shop-1234")
    assert raised.value.message == (
        "ManagedProject shop is invalid, so the operator does not know which identity to use in project "
        "shop-1234 and makes no calls there; correct it as its Ready condition says"
    )
    assert not raised.value.undecided
    assert ProjectSettings(cache).credential("somewhere") == OWN

    observe(cache, VALID)
    assert ProjectSettings(cache).credential("shop-1234") == Credential(ACCOUNT)


@pytest.mark.parametrize(
    ("status", "suspended"),
    [({}, True), ({"operator": OTHER.to_dict()}, True), ({"operator": OWN_OPERATOR.to_dict()}, False)],
)
def test_policies_of_a_project_without_this_operator_are_not_touched(status: object, suspended: bool) -> None:
    cache = cache_of(OWN_OPERATOR)
    observe(cache, VALID, status=status)
    assert ProjectSettings(cache).is_suspended("shop-1234") is suspended
    observe(cache, INVALID, status={"operator": OTHER.to_dict()})
    assert ProjectSettings(cache).is_suspended("shop-1234")


@pytest.mark.parametrize("spec", [[], {"driftInterval": 7}, {"projectID": 7}])
def test_invalid_project_id_falls_back_to_the_object_name(cache: Cache, spec: object) -> None:
    observe(cache, spec)
    with pytest.raises(NoCredential):
        ProjectSettings(cache).credential("shop")


def test_last_valid_credential_is_used_while_the_project_is_invalid(cache: Cache) -> None:
    observe(cache, VALID)
    observe(cache, INVALID)
    assert ProjectSettings(cache).credential("shop-1234") == Credential(ACCOUNT)


@pytest.mark.parametrize(
    ("invalid", "valid"),
    [("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), ("2026-01-01T00:00:00Z", None), (None, None)],
)
def test_younger_project_does_not_replace_an_invalid_one(
    cache: Cache, invalid: str | None, valid: str | None
) -> None:
    observe(cache, INVALID, name="a", created=invalid)
    observe(cache, VALID, name="b", created=valid)
    with pytest.raises(NoCredential):
        ProjectSettings(cache).credential("shop-1234")


def test_invalid_project_does_not_block_an_older_one(cache: Cache) -> None:
    observe(cache, VALID, name="b", created="2026-01-01T00:00:00Z")
    observe(cache, INVALID, name="a", created="2026-01-02T00:00:00Z")
    assert ProjectSettings(cache).credential("shop-1234") == Credential(ACCOUNT)


def test_deleted_invalid_project_has_no_effect(cache: Cache) -> None:
    observe(cache, INVALID)
    observe(cache, INVALID, deleted=True)
    assert ProjectSettings(cache).credential("shop-1234") == OWN


@pytest.mark.parametrize("before", [None, {"credentials": {"impersonateServiceAccount": "former@x"}}])
def test_credential_accounts_include_those_of_invalid_projects(cache: Cache, before: object) -> None:
    if before:
        observe(cache, before)
    delegate = "relay@ops-1234.iam.gserviceaccount.com"
    credentials = {"impersonateServiceAccount": ACCOUNT.upper(), "delegates": [delegate, 7]}
    observe(cache, {**INVALID, "credentials": credentials})
    assert cache.credential_accounts() == {ACCOUNT, delegate} | ({"former@x"} if before else set())

    observe(cache, {**VALID, "credentials": None})
    observe(cache, VALID, deleted=True)
    assert cache.credential_accounts() == set()


@pytest.mark.parametrize("credentials", [None, [], {}, {"impersonateServiceAccount": 7, "delegates": "x"}])
def test_invalid_credentials_name_no_account(cache: Cache, credentials: object) -> None:
    observe(cache, {**INVALID, "credentials": credentials})
    assert cache.credential_accounts() == set()


def test_lowest_removal_limit_of_a_project_applies(cache: Cache) -> None:
    settings = ProjectSettings(cache)
    assert settings.removals_per_hour("shop-1234") == 0
    for name, limit in (("a", 20), ("b", 10)):
        guardrails = {"maxRemovalsPerHour": limit}
        observe(cache, {"projectID": "shop-1234", "guardrails": guardrails}, name=name)
    assert settings.removals_per_hour("shop-1234") == 10


def test_oldest_project_decides_about_suspension_and_observation(cache: Cache) -> None:
    settings = ProjectSettings(cache)
    assert not settings.is_suspended("shop-1234")
    assert not settings.is_observed("shop-1234")
    older = {"projectID": "shop-1234", "suspend": True, "managementPolicy": "Observe"}
    observe(cache, older, name="b", created="2026-01-01T00:00:00Z")
    observe(cache, {"projectID": "shop-1234"}, name="a", created="2026-01-02T00:00:00Z")
    assert settings.is_suspended("shop-1234")
    assert settings.is_observed("shop-1234")


def test_operator_identities_and_google_agents_are_protected(cache: Cache) -> None:
    settings = ProjectSettings(cache)
    observe(cache, VALID)
    assert settings.is_protected(f"serviceAccount:{ACCOUNT}")
    assert settings.is_protected("projectOwner:shop-1234")
    assert not settings.is_protected("user:ann@example.com")


def test_resync_interval_is_the_drift_interval_of_the_project(cache: Cache) -> None:
    settings, key = ProjectSettings(cache), project_key("shop")
    assert settings.resync_max_age(key) == pytest.approx(DEFAULT_RESYNC_INTERVAL * (1 - 2 * JITTER))
    observe(cache, {"driftInterval": "1m30s"})
    assert settings.resync_max_age(key) == pytest.approx(72.0)
