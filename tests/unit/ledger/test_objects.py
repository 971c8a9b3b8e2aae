"""A ledger and its object are two forms of one value."""

import json
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.api.identity_key import KeyState
from cloudrun_identity.api.policy_ledger import (
    Abandonment,
    AccountIntent,
    AccountLoss,
    AccountText,
    PolicyLedger,
    RoleState,
)
from cloudrun_identity.api.spec import Origin
from cloudrun_identity.api.status import GrantState
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.key_records import KeyAttempt, KeyRecord, KeyRing
from cloudrun_identity.ledger.model import AccountRecord, AttachmentRecord, Ledger, LedgerEntry, RoleRecord
from cloudrun_identity.ledger.objects import LedgerInvalid, from_object, object_name, to_object

METADATA = {"name": "x", "namespace": "cloudrun-identity"}
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

PROJECT = Target(TargetKind.PROJECT, "payments-prod-1234")
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments", name="checkout@payments.iam.gserviceaccount.com")

words = st.text(min_size=1, max_size=8)
owners = st.from_regex(r"[a-z]{1,8}/[a-z]{1,8}", fullmatch=True)
ledger_owners = st.from_regex(r"[A-Z][a-z]{1,4}/[a-z]{1,8}/[a-z]{1,8}/[0-9a-f]{1,8}", fullmatch=True)
NEW_YEAR = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
moments = st.none() | st.just(NEW_YEAR)
optional_words = st.text(max_size=8)
targets = st.one_of(
    st.builds(Target, st.just(TargetKind.PROJECT), words),
    st.builds(
        Target,
        st.sampled_from([TargetKind.SERVICE, TargetKind.JOB, TargetKind.WORKER_POOL]),
        words,
        words,
        words,
    ),
    st.builds(
        Target, st.sampled_from([TargetKind.SERVICE_ACCOUNT, TargetKind.SECRET]), words, st.just(""), words
    ),
)
conditions = st.none() | st.builds(IAMCondition, words, optional_words, words)
entries = st.builds(
    LedgerEntry,
    st.frozensets(ledger_owners, max_size=3),
    st.sampled_from(GrantState),
    st.booleans(),
    optional_words,
    st.lists(words, max_size=8, unique=True).map(tuple),
)
accounts = st.builds(
    AccountRecord,
    email=optional_words,
    owner=st.just("") | owners,
    owner_uid=optional_words,
    intent=st.none() | st.sampled_from(AccountIntent),
    origin=st.none() | st.sampled_from(Origin),
    unique_id=optional_words,
    unique_ids=st.lists(words, max_size=8, unique=True).map(tuple),
    lost=st.none() | st.sampled_from(AccountLoss),
    disabled=st.booleans(),
    sent=st.none() | st.builds(AccountText, display_name=optional_words, description=optional_words),
    appeared=moments,
    disabled_at=moments,
    abandoned=st.none() | st.builds(Abandonment, reason=words, time=st.just(NEW_YEAR)),
)


@st.composite
def roles(draw: st.DrawFn) -> dict[str, RoleRecord]:
    records = st.builds(
        RoleRecord,
        role_id=words,
        owner=owners,
        owner_uid=words,
        origin=st.sampled_from(Origin),
        state=st.sampled_from(RoleState),
        deleted_time=moments,
    )
    return {record.role_id: record for record in draw(st.lists(records, max_size=3))}


key_records = st.builds(
    KeyRecord,
    key_id=words,
    owner=owners,
    state=st.sampled_from(KeyState),
    created=st.just(NEW_YEAR),
    digest=optional_words,
    generation=st.integers(0, 3),
    expires=moments,
    superseded=moments,
    disabled=moments,
)
key_rings = st.builds(
    lambda records, attempt: KeyRing({each.key_id: each for each in records}, attempt),
    st.lists(key_records, max_size=3),
    st.none() | st.builds(KeyAttempt, owners, st.just(NEW_YEAR), st.frozensets(words, max_size=3)),
)


attachments = st.builds(
    AttachmentRecord,
    owner=owners,
    owner_uid=words,
    workload_uid=words,
    before=optional_words,
    account=words,
)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    target = draw(targets)
    grants = st.builds(Grant, st.just(target), words, words, conditions)
    return Ledger(
        target=target,
        target_uid=draw(optional_words),
        account=draw(st.none() | accounts),
        keys=draw(key_rings),
        entries=draw(st.dictionaries(grants, entries, max_size=6)),
        unmanaged_members=draw(st.integers(0, 5)),
        roles=draw(roles()),
        attachment=draw(st.none() | attachments),
        last_write_time=draw(moments),
    )


def raw(**spec: Any) -> dict[str, Any]:
    return {"metadata": METADATA, "spec": spec}


@given(ledgers())
def test_reading_gives_back_what_was_written(ledger: Ledger) -> None:
    assert from_object(to_object(ledger, METADATA)) == ledger


@given(ledgers(), st.randoms(use_true_random=False))
def test_equal_ledgers_are_equal_objects(ledger: Ledger, order: random.Random) -> None:
    entries, roles = list(ledger.entries.items()), list(ledger.roles.items())
    order.shuffle(entries)
    order.shuffle(roles)
    other = replace(ledger, entries=dict(entries), roles=dict(roles))
    assert to_object(other, METADATA) == to_object(ledger, METADATA)


@given(ledgers())
def test_the_object_is_json_and_of_the_kind(ledger: Ledger) -> None:
    obj = json.loads(json.dumps(to_object(ledger, METADATA)))
    assert PolicyLedger.model_validate(obj).spec.target.full_name == ledger.target.full_name


@given(targets)
def test_every_name_is_one_that_kubernetes_takes(target: Target) -> None:
    name = object_name(target)
    assert SUBDOMAIN.fullmatch(name)
    assert len(name) <= 253


def test_names_are_kind_name_and_hash() -> None:
    assert re.fullmatch(r"project-payments-prod-1234-[0-9a-f]{10}", object_name(PROJECT))
    assert re.fullmatch(
        r"serviceaccount-checkout-payments-iam-gserviceaccount-co-[0-9a-f]{10}", object_name(ACCOUNT)
    )


def test_targets_that_share_a_short_name_differ_in_the_hash() -> None:
    here = Target(TargetKind.SERVICE, "payments", "europe-west1", "web")
    there = Target(TargetKind.SERVICE, "payments", "europe-west4", "web")
    assert object_name(here) != object_name(there)


def test_what_kubectl_shows_is_in_the_object() -> None:
    entry = LedgerEntry(frozenset({"IAMBinding/a/b/uid"}), GrantState.PENDING)
    ledger = Ledger(PROJECT, entries={Grant(PROJECT, "roles/viewer", "user:a@example.com"): entry})
    spec = to_object(ledger, METADATA)["spec"]
    assert spec["target"]["text"] == "Project payments-prod-1234"
    assert spec["grantCounts"] == {"granted": 0, "pending": 1, "rejected": 0, "releasing": 0}


def test_the_newest_unique_ids_are_kept() -> None:
    ids = tuple(str(number) for number in range(10))
    ledger = Ledger(ACCOUNT, account=AccountRecord(ACCOUNT.name, "payments/checkout", "uid", unique_ids=ids))
    account = from_object(to_object(ledger, METADATA)).account
    assert account is not None
    assert account.unique_ids == ids[2:]


def test_an_unreadable_object_is_named_with_its_fault() -> None:
    with pytest.raises(LedgerInvalid, match=r"PolicyLedger cloudrun-identity/x .*spec\.target: .*required"):
        from_object(raw())


@pytest.mark.parametrize("owner", ["web", "IAMBinding/payments/web", "IAMBinding/a/b/uid/1", "///"])
def test_a_claimant_that_names_no_object_is_unreadable_and_shown(owner: str) -> None:
    entry = LedgerEntry(frozenset({"IAMBinding/a/b/uid"}))
    ledger = Ledger(PROJECT, entries={Grant(PROJECT, "roles/viewer", "user:a@example.com"): entry})
    written = to_object(ledger, METADATA)
    written["spec"]["bindings"][0]["members"][0]["owners"] = [owner]
    with pytest.raises(LedgerInvalid) as raised:
        from_object(written)
    told = str(raised.value)
    assert told.startswith("PolicyLedger cloudrun-identity/x cannot be read (spec.bindings[0].members[0].")
    assert f"owners[0]: '{owner}': must be KIND/NAMESPACE/NAME/UID)" in told
    assert "repair it" in told


def test_an_owner_that_names_no_object_is_unreadable() -> None:
    written = to_object(Ledger(ACCOUNT, account=AccountRecord(ACCOUNT.name, "a/checkout", "uid")), METADATA)
    written["spec"]["account"]["owner"] = "checkout"
    with pytest.raises(LedgerInvalid, match=r"spec\.account\.owner: 'checkout': must be NAMESPACE/NAME"):
        from_object(written)


def test_an_object_without_a_spec_is_unreadable() -> None:
    with pytest.raises(LedgerInvalid, match="it has no spec"):
        from_object({"metadata": METADATA})
