"""PolicyLedger objects: names, and ledgers written and read back."""

import copy
import json
import random
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudrun_identity.api import (
    MAX_UNIQUE_IDS,
    Abandonment,
    AccountIntent,
    AccountLoss,
    AccountText,
    LedgerAccount,
    LedgerAttachment,
    LedgerKey,
    LedgerKeyAttempt,
    LedgerRole,
    LedgerUsage,
    LedgerWrite,
    PolicyLedger,
    RoleState,
    TargetKind,
)
from cloudrun_identity.api.crd import generate
from cloudrun_identity.api.identity_key import KeyState
from cloudrun_identity.api.schema import ApiModel
from cloudrun_identity.api.spec import Origin
from cloudrun_identity.api.status import GrantCounts, GrantState
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.objects import (
    LedgerInvalid,
    from_object,
    is_stored_as_written,
    object_name,
    owner_keys_named_by,
    to_object,
)
from cloudrun_identity_playground.kubeapi.defaults import set_defaults
from cloudrun_identity_playground.kubeapi.schema import Schema

SCHEMA = Schema.parse(
    generate()[PolicyLedger.__name__]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
).properties["spec"]
METADATA = {"name": "x", "namespace": "cloudrun-identity"}
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

PROJECT = Target(TargetKind.PROJECT, "payments-prod-1234")
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments", name="checkout@payments.iam.gserviceaccount.com")


def records(kind: type[ApiModel], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Records of a kind, by the Python names of its fields: Hypothesis would infer the wire names."""
    return st.fixed_dictionaries(fields).map(lambda drawn: kind(**drawn))


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
entry_fields = st.fixed_dictionaries(
    {
        "owners": st.lists(ledger_owners, max_size=3),
        "state": st.sampled_from(GrantState),
        "present_before": st.booleans(),
        "unique_id": optional_words,
        "former_unique_ids": st.lists(words, max_size=8, unique=True).map(tuple),
    }
)
accounts = records(
    LedgerAccount,
    email=optional_words,
    owner=st.just("") | owners,
    owner_uid=optional_words,
    intent=st.none() | st.sampled_from(AccountIntent),
    origin=st.none() | st.sampled_from(Origin),
    unique_id=optional_words,
    unique_ids=st.lists(words, max_size=8, unique=True).map(tuple),
    lost=st.none() | st.sampled_from(AccountLoss),
    disabled=st.booleans(),
    sent=st.none() | records(AccountText, display_name=optional_words, description=optional_words),
    appeared_time=moments,
    disabled_time=moments,
    abandoned=st.none() | records(Abandonment, reason=words, time=st.just(NEW_YEAR)),
)


roles = records(
    LedgerRole,
    role_id=words,
    owner=owners,
    owner_uid=words,
    origin=st.sampled_from(Origin),
    state=st.sampled_from(RoleState),
    deleted_time=moments,
)
key_records = records(
    LedgerKey,
    id=words,
    owner=owners,
    state=st.sampled_from(KeyState),
    created_time=st.just(NEW_YEAR),
    digest=optional_words,
    generation=st.integers(0, 3),
    expiry_time=moments,
    superseded_time=moments,
    disabled_time=moments,
)
key_rings = st.builds(
    lambda records, attempt: KeyRing({each.id: each for each in records}, attempt),
    st.lists(key_records, max_size=3),
    st.none()
    | records(
        LedgerKeyAttempt,
        owner=owners,
        time=st.just(NEW_YEAR),
        known=st.lists(words, max_size=3).map(tuple),
    ),
)
attachments = records(
    LedgerAttachment,
    owner=owners,
    owner_uid=words,
    workload_uid=words,
    previous_service_account=optional_words,
    service_account=words,
)


counts = st.integers(0, 1600)
usages = records(LedgerUsage, principals=counts, exempted=counts, groups=counts)
writes = records(LedgerWrite, etag=words, digest=words)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    target = draw(targets)
    grants = st.builds(Grant, st.just(target), words, words, conditions)
    fields = draw(st.dictionaries(grants, entry_fields, max_size=6))
    ledger = Ledger.of(target, {grant: entry_of(grant, **each) for grant, each in fields.items()})
    for role in draw(st.lists(roles, max_size=3)):
        ledger = ledger.with_role(role)
    return ledger.with_key_ring(draw(key_rings)).replace(
        target_uid=draw(optional_words),
        account=draw(st.none() | accounts),
        unmanaged_members=draw(st.integers(0, 5)),
        attachment=draw(st.none() | attachments),
        last_write_time=draw(moments),
        usage=draw(st.none() | usages),
        pending_write=draw(st.none() | writes),
    )


def raw(**spec: Any) -> dict[str, Any]:
    return {"metadata": METADATA, "spec": spec}


@given(ledgers())
def test_written_ledger_is_read_back(ledger: Ledger) -> None:
    assert from_object(to_object(ledger, METADATA)) == ledger


@given(ledgers())
def test_api_server_adds_no_default_to_a_written_ledger(ledger: Ledger) -> None:
    written = to_object(ledger, METADATA)
    stored = copy.deepcopy(written)
    set_defaults(stored["spec"], SCHEMA)
    assert is_stored_as_written(written, stored)


@given(ledgers(), st.randoms(use_true_random=False))
def test_ledgers_with_equal_content_are_equal_objects(ledger: Ledger, order: random.Random) -> None:
    entries, roles = list(ledger.entries.items()), list(ledger.roles)
    order.shuffle(entries)
    order.shuffle(roles)
    other = ledger.replace(roles=()).with_entries(dict(entries))
    for role in roles:
        other = other.with_role(role)
    assert other == ledger
    assert to_object(other, METADATA) == to_object(ledger, METADATA)


@given(ledgers(), st.randoms(use_true_random=False))
def test_order_of_a_stored_object_does_not_matter(ledger: Ledger, order: random.Random) -> None:
    written = to_object(ledger, METADATA)
    for name in ("bindings", "roles", "keys"):
        order.shuffle(written["spec"][name])
    for binding in written["spec"]["bindings"]:
        order.shuffle(binding["members"])
        for member in binding["members"]:
            order.shuffle(member["owners"])
    assert from_object(written) == ledger


@given(ledgers(), words, st.randoms(use_true_random=False))
def test_indexes_follow_every_change(ledger: Ledger, target_uid: str, order: random.Random) -> None:
    known = [ledger.target, ledger.entries, ledger.owner_keys]
    assert [ledger.target, ledger.replace(target_uid=target_uid).entries, ledger.owner_keys] == known
    kept = {grant: entry for grant, entry in ledger.entries.items() if order.random() < 0.5}
    shrunk = ledger.with_entries(kept)
    assert shrunk.entries == kept
    assert shrunk.owner_keys == {key for entry in kept.values() for key in entry.owner_keys}
    assert shrunk.grant_counts == GrantCounts.of(entry.state for entry in kept.values())


@given(ledgers())
def test_object_is_json_of_the_kind(ledger: Ledger) -> None:
    obj = json.loads(json.dumps(to_object(ledger, METADATA)))
    assert PolicyLedger.model_validate(obj).spec.resource.full_name == ledger.target.full_name


@given(targets)
def test_object_name_is_valid_in_kubernetes(target: Target) -> None:
    name = object_name(target)
    assert SUBDOMAIN.fullmatch(name)
    assert len(name) <= 253


def test_object_name_has_kind_name_and_hash() -> None:
    assert re.fullmatch(r"project-payments-prod-1234-[0-9a-f]{10}", object_name(PROJECT))
    assert re.fullmatch(
        r"serviceaccount-checkout-payments-iam-gserviceaccount-co-[0-9a-f]{10}", object_name(ACCOUNT)
    )


def test_targets_with_one_short_name_have_different_hashes() -> None:
    here = Target(TargetKind.SERVICE, "payments", "europe-west1", "web")
    there = Target(TargetKind.SERVICE, "payments", "europe-west4", "web")
    assert object_name(here) != object_name(there)


def test_object_has_the_columns_of_kubectl() -> None:
    grant = Grant(PROJECT, "roles/viewer", "user:a@example.com")
    ledger = Ledger.of(PROJECT, {grant: entry_of(grant, ["IAMBinding/a/b/uid"])})
    spec = to_object(ledger, METADATA)["spec"]
    assert spec["target"]["text"] == "Project payments-prod-1234"
    assert spec["grantCounts"] == {"granted": 0, "pending": 1, "rejected": 0, "releasing": 0}


def test_more_unique_ids_than_the_limit_are_refused() -> None:
    ids = tuple(str(number) for number in range(MAX_UNIQUE_IDS + 1))
    with pytest.raises(ValidationError, match=r"(?i)unique_?ids"):
        LedgerAccount(email=ACCOUNT.name, unique_ids=ids)


def test_invalid_object_is_reported_with_its_field() -> None:
    with pytest.raises(LedgerInvalid, match=r"PolicyLedger cloudrun-identity/x .*spec\.target: .*required"):
        from_object(raw())


@pytest.mark.parametrize("owner", ["web", "IAMBinding/payments/web", "IAMBinding/a/b/uid/1", "///"])
def test_owner_that_names_no_object_is_invalid_and_shown(owner: str) -> None:
    grant = Grant(PROJECT, "roles/viewer", "user:a@example.com")
    ledger = Ledger.of(PROJECT, {grant: entry_of(grant, ["IAMBinding/a/b/uid"])})
    written = to_object(ledger, METADATA)
    written["spec"]["bindings"][0]["members"][0]["owners"] = [owner]
    with pytest.raises(LedgerInvalid) as raised:
        from_object(written)
    message = str(raised.value)
    assert message.startswith("PolicyLedger cloudrun-identity/x cannot be read (spec.bindings[0].members[0].")
    assert f"owners[0]: '{owner}': must be KIND/NAMESPACE/NAME/UID)" in message
    assert "repair it" in message


def test_owners_are_read_from_an_invalid_object() -> None:
    grant = Grant(PROJECT, "roles/viewer", "user:a@example.com")
    ledger = Ledger.of(PROJECT, {grant: entry_of(grant, ["IAMBinding/a/b/uid"])})
    ledger = ledger.with_account(LedgerAccount(email=ACCOUNT.name, owner="a/checkout", owner_uid="uid"))
    written = to_object(ledger, METADATA)
    written["spec"]["bindings"][0]["members"].append({"owners": ["nonsense", 3]})
    assert owner_keys_named_by(written) == {"IAMBinding/a/b", "CloudRunIdentity/a/checkout"}
    assert owner_keys_named_by({"metadata": METADATA, "spec": "text"}) == frozenset()


def test_account_owner_that_names_no_object_is_invalid() -> None:
    written = to_object(
        Ledger.of(ACCOUNT).with_account(
            LedgerAccount(email=ACCOUNT.name, owner="a/checkout", owner_uid="uid")
        ),
        METADATA,
    )
    written["spec"]["account"]["owner"] = "checkout"
    with pytest.raises(LedgerInvalid, match=r"spec\.account\.owner: 'checkout': must be NAMESPACE/NAME"):
        from_object(written)


def test_object_without_a_spec_is_invalid() -> None:
    with pytest.raises(LedgerInvalid, match="it has no spec"):
        from_object({"metadata": METADATA})
