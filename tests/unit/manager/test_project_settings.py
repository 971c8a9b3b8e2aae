"""Whom the operator acts as, and where it does nothing for not knowing."""

import itertools
from typing import Any

import pytest

from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.gcp.client_pool import OWN, Credential, NoCredential
from cloudrun_identity.ledger.store import Ledgers
from cloudrun_identity.manager.cache import Cache
from cloudrun_identity.manager.project_settings import ProjectSettings

ACCOUNT = "cri@ops-1234.iam.gserviceaccount.com"
VERSIONS = itertools.count(1)
READABLE = {"projectID": "shop-1234", "credentials": {"impersonateServiceAccount": ACCOUNT}}
SPOILT = {**READABLE, "driftInterval": "often"}


@pytest.fixture
def cache() -> Cache:
    none: Any = None
    project = ManagedProjectController(none, none, none, none, str, none)
    kinds: Any = {"ManagedProject": KindReconciler(project, none, none, none)}
    return Cache(kinds, Ledgers(none, "operator"), lambda keys: None)


def seen(
    cache: Cache, spec: object, *, name: str = "shop", created: str | None = None, deleted: bool = False
) -> None:
    metadata = {"name": name, "uid": f"u-{name}", "resourceVersion": str(next(VERSIONS))}
    if created:
        metadata["creationTimestamp"] = created
    cache.observe({"kind": "ManagedProject", "metadata": metadata, "spec": spec}, deleted=deleted)


def test_a_project_is_worked_in_as_it_says_and_others_as_ourselves(cache: Cache) -> None:
    seen(cache, READABLE)
    assert ProjectSettings(cache).credential("shop-1234") == Credential(ACCOUNT)
    assert ProjectSettings(cache).credential("somewhere") == OWN


def test_nobody_is_acted_as_where_the_project_could_never_be_read(cache: Cache) -> None:
    seen(cache, SPOILT)
    with pytest.raises(NoCredential) as raised:
        ProjectSettings(cache).credential("shop-1234")
    assert raised.value.message == (
        "ManagedProject shop is invalid, so the operator does not know which identity to use in project "
        "shop-1234 and makes no calls there; correct it as its Ready condition says"
    )
    assert not raised.value.undecided
    assert ProjectSettings(cache).credential("somewhere") == OWN

    seen(cache, READABLE)
    assert ProjectSettings(cache).credential("shop-1234") == Credential(ACCOUNT)


@pytest.mark.parametrize("spec", [[], {"driftInterval": 7}, {"projectID": 7}])
def test_a_project_that_says_nothing_that_can_be_read_is_known_by_its_name(
    cache: Cache, spec: object
) -> None:
    seen(cache, spec)
    with pytest.raises(NoCredential):
        ProjectSettings(cache).credential("shop")


def test_what_was_read_before_it_was_spoilt_still_says_whom_to_act_as(cache: Cache) -> None:
    seen(cache, READABLE)
    seen(cache, SPOILT)
    assert ProjectSettings(cache).credential("shop-1234") == Credential(ACCOUNT)


@pytest.mark.parametrize(
    ("spoilt", "known"),
    [("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), ("2026-01-01T00:00:00Z", None), (None, None)],
)
def test_who_comes_second_does_not_take_the_place_of_a_project_that_cannot_be_read(
    cache: Cache, spoilt: str | None, known: str | None
) -> None:
    seen(cache, SPOILT, name="a", created=spoilt)
    seen(cache, READABLE, name="b", created=known)
    with pytest.raises(NoCredential):
        ProjectSettings(cache).credential("shop-1234")


def test_a_project_that_cannot_be_read_stands_in_the_way_of_no_older_one(cache: Cache) -> None:
    seen(cache, READABLE, name="b", created="2026-01-01T00:00:00Z")
    seen(cache, SPOILT, name="a", created="2026-01-02T00:00:00Z")
    assert ProjectSettings(cache).credential("shop-1234") == Credential(ACCOUNT)


def test_a_project_that_went_unread_leaves_nothing_behind(cache: Cache) -> None:
    seen(cache, SPOILT)
    seen(cache, SPOILT, deleted=True)
    assert ProjectSettings(cache).credential("shop-1234") == OWN


@pytest.mark.parametrize("before", [None, {"credentials": {"impersonateServiceAccount": "former@x"}}])
def test_whom_the_operator_acts_as_stays_out_of_reach_while_the_project_cannot_be_read(
    cache: Cache, before: object
) -> None:
    if before:
        seen(cache, before)
    delegate = "relay@ops-1234.iam.gserviceaccount.com"
    credentials = {"impersonateServiceAccount": ACCOUNT.upper(), "delegates": [delegate, 7]}
    seen(cache, {**SPOILT, "credentials": credentials})
    assert cache.credential_accounts() == {ACCOUNT, delegate} | ({"former@x"} if before else set())

    seen(cache, {**READABLE, "credentials": None})
    seen(cache, READABLE, deleted=True)
    assert cache.credential_accounts() == set()


@pytest.mark.parametrize("credentials", [None, [], {}, {"impersonateServiceAccount": 7, "delegates": "x"}])
def test_credentials_that_say_nothing_name_nobody(cache: Cache, credentials: object) -> None:
    seen(cache, {**SPOILT, "credentials": credentials})
    assert cache.credential_accounts() == set()
