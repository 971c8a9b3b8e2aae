"""The cache: old and new versions, required reconciles, and queries."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import (
    AccountLoss,
    CloudRunIdentity,
    IAMBinding,
    IdentityAttachment,
    LedgerAccount,
    ManagedProject,
    TargetKind,
)
from cloudrun_identity.api.group import FINALIZER
from cloudrun_identity.controllers.cloud_run_identity.controller import CloudRunIdentityController
from cloudrun_identity.controllers.iam_binding import IAMBindingController
from cloudrun_identity.controllers.identity_attachment.controller import IdentityAttachmentController
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.index import LedgerIndex
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.manager.cache import NO_CHANGE, Cache
from cloudrun_identity.reconcile.cluster_state import ObjectKey, identity_key, project_key
from tests.unit.manager.kinds import unconnected

NOW = datetime(2026, 1, 2, tzinfo=UTC)

PROJECT = project_key("payments-prod")
CHECKOUT, PRICING = identity_key("payments", "checkout"), identity_key("payments", "pricing")
WEB, OPS = ObjectKey("IAMBinding", "payments", "web"), ObjectKey("IAMBinding", "payments", "ops")
EMAIL = "checkout@payments-prod.iam.gserviceaccount.com"
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod", name=EMAIL)
RECORD = LedgerAccount(email=EMAIL, owner="payments/checkout", owner_uid="u-checkout", unique_id="111")


class FakeLedgers:
    """Ledgers that publish every change."""

    def __init__(self) -> None:
        self._index = LedgerIndex()
        self._ledgers: dict[Target, Ledger] = {}
        self._subscribers: list[Any] = []

    def all(self) -> Iterable[Ledger]:
        return list(self._ledgers.values())

    def subscribe(self, on_change: Any) -> None:
        self._subscribers.append(on_change)

    def held_by(self, owner_key: str) -> frozenset[Target]:
        return self._index.held_by(owner_key)

    def account_home(self, owner: str) -> Target | None:
        return self._index.account_home(owner)

    def account_of(self, owner: str) -> LedgerAccount | None:
        return self._index.account_of(owner)

    def record(self, record: LedgerAccount | None) -> None:
        old = self._ledgers.get(ACCOUNT, Ledger.of(ACCOUNT))
        new = self._ledgers[ACCOUNT] = old.with_account(record)
        self._index.change(old, new)
        for publish in self._subscribers:
            publish(old, new)


class Cached:
    """A cache on fake ledgers, and the objects that it woke."""

    def __init__(self) -> None:
        self.ledgers = FakeLedgers()
        self.woken: list[ObjectKey] = []
        self.cache = self.start()

    def start(self) -> Cache:
        none: Any = None
        return Cache(
            {
                "ManagedProject": unconnected(
                    ManagedProjectController(none, none, none, none, str, none, none, none, none, none)
                ),
                "CloudRunIdentity": unconnected(CloudRunIdentityController(none, none, none, none)),
                "IAMBinding": unconnected(IAMBindingController(none, none)),
                "IdentityAttachment": unconnected(IdentityAttachmentController(*[none] * 5)),
            },
            self.ledgers,
            self.woken.extend,
        )

    def sees(self, *raws: Object) -> None:
        for raw in raws:
            self.cache.observe(raw, deleted=False)


def raw_of(cached: Cached, key: ObjectKey) -> Object:
    """Return the object as the API server sent it last."""
    stored = cached.cache.stored(key)
    assert stored is not None
    return stored.raw


@pytest.fixture
def cached() -> Cached:
    return Cached()


def raw(text: str, *, version: int = 1, generation: int = 1, **metadata: Any) -> Object:
    obj: Object = yaml.safe_load(text)
    own = {"uid": f"u-{obj['metadata']['name']}", "resourceVersion": str(version), "generation": generation}
    obj["metadata"] = {**own, **obj["metadata"], **metadata}
    return obj


def project(**metadata: Any) -> Object:
    return raw("{kind: ManagedProject, metadata: {name: payments-prod}, spec: {}}", **metadata)


def identity(name: str = "checkout", account: str = "checkout", **metadata: Any) -> Object:
    return raw(
        f"""
        kind: CloudRunIdentity
        metadata: {{name: {name}, namespace: payments}}
        spec: {{projectRef: {{name: payments-prod}}, accountID: {account}}}
        """,
        **metadata,
    )


def binding(name: str = "web", member: str = "checkout", **metadata: Any) -> Object:
    return raw(
        f"""
        kind: IAMBinding
        metadata: {{name: {name}, namespace: payments}}
        spec:
          projectRef: {{name: payments-prod}}
          target: {{kind: Project}}
          role: roles/run.invoker
          members: [{{identityRef: {{name: {member}}}}}]
        """,
        **metadata,
    )


def with_status(obj: Object, **status: Any) -> Object:
    version = str(int(obj["metadata"]["resourceVersion"]) + 1)
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}, "status": status}


# Versions.


def test_object_is_new_once(cached: Cached) -> None:
    assert cached.cache.observe(binding(), deleted=False).changed
    assert cached.cache.observe(binding(), deleted=False) == NO_CHANGE
    assert raw_of(cached, WEB) == binding()


def test_objects_of_one_project_follow_each_other_after_the_projects(cached: Cached) -> None:
    other = identity("pricing")
    other["spec"]["projectRef"]["name"] = "analytics"
    invalid = binding("ops") | {"spec": {"projectRef": {"name": "analytics"}}}
    cached.sees(binding(), invalid, identity(), other, project())
    assert cached.cache.by_project() == [PROJECT, PRICING, OPS, WEB, CHECKOUT]


def test_older_event_is_dropped(cached: Cached) -> None:
    cached.sees(binding(version=9, generation=2))
    assert cached.cache.observe(binding(version=8, generation=1), deleted=False) == NO_CHANGE
    assert raw_of(cached, WEB) == binding(version=9, generation=2)


def test_resource_versions_are_compared_as_numbers(cached: Cached) -> None:
    cached.sees(binding(version=10))
    assert cached.cache.observe(binding(version=9), deleted=False) == NO_CHANGE


def test_deleted_object_with_an_account_on_record_wakes_its_project(cached: Cached) -> None:
    cached.sees(raw("{kind: ManagedProject, metadata: {name: payments-prod}, spec: {}}"), identity())
    cached.ledgers.record(RECORD)
    assert PROJECT in cached.cache.observe(identity(), deleted=True).woken


def test_late_deletion_of_a_recreated_object_is_dropped(cached: Cached) -> None:
    """Both objects may have the same creation timestamp, which has a resolution of seconds."""
    same_second = {"creationTimestamp": "2026-01-01T00:00:00Z"}
    cached.sees(binding(version=7, uid="successor", **same_second))
    ended = binding(version=6, uid="predecessor", **same_second)
    assert cached.cache.observe(ended, deleted=True) == NO_CHANGE
    assert raw_of(cached, WEB) is not None


def test_recreated_object_replaces_the_deleted_one(cached: Cached) -> None:
    cached.sees(binding(version=6, uid="predecessor"))
    assert cached.cache.observe(binding(version=7, uid="successor"), deleted=False).changed


def test_deletion_removes_the_object_and_requires_a_reconcile(cached: Cached) -> None:
    cached.sees(binding())
    assert cached.cache.observe(binding(), deleted=True).changed
    assert cached.cache.stored(WEB) is None
    assert list(cached.cache.known()) == []


def test_object_removed_in_spite_of_its_finalizer_is_kept_as_deleting(cached: Cached) -> None:
    cached.sees(binding())
    removed = binding(version=3, finalizers=[FINALIZER])
    assert cached.cache.observe(removed, deleted=True).changed
    kept = cached.cache.stored(WEB)
    assert kept is not None
    assert kept.obj is not None
    assert (kept.is_removed, kept.obj.is_deleting) == (True, True)

    cached.cache.drop(binding(version=2, finalizers=[FINALIZER]))
    assert cached.cache.stored(WEB) == kept, "a write that found it removed is older than its last version"
    cached.cache.drop(kept.raw)
    assert cached.cache.stored(WEB) is None


@pytest.mark.parametrize(
    "last",
    [
        binding(version=3),
        binding(version=3, finalizers=[FINALIZER], deletionTimestamp="2026-03-01T12:00:00Z"),
        {**binding(version=3, finalizers=[FINALIZER]), "spec": {}},
        project(version=3, finalizers=[FINALIZER]),
    ],
    ids=["no finalizer", "finalizer removed", "invalid", "ManagedProject"],
)
def test_other_deleted_objects_are_not_kept(cached: Cached, last: Object) -> None:
    assert cached.cache.observe(last, deleted=True).changed
    assert list(cached.cache.known()) == []


def test_dropped_object_is_kept_once_its_last_version_shows_the_finalizer(cached: Cached) -> None:
    cached.sees(binding(version=2, finalizers=[FINALIZER]))
    cached.cache.drop(binding(version=2, finalizers=[FINALIZER]))
    assert cached.cache.stored(WEB) is None
    cached.cache.observe(binding(version=3, finalizers=[FINALIZER]), deleted=True)
    assert cached.cache.stored(WEB) is not None


def test_new_object_takes_the_place_of_a_removed_one(cached: Cached) -> None:
    cached.cache.observe(binding(version=3, finalizers=[FINALIZER]), deleted=True)
    removed = raw_of(cached, WEB)
    assert cached.cache.observe(binding(version=4, uid="successor"), deleted=False).changed
    successor = cached.cache.stored(WEB)
    assert successor is not None
    assert not successor.is_removed
    cached.cache.drop(removed)
    assert cached.cache.stored(WEB) == successor


def test_status_change_requires_no_reconcile(cached: Cached) -> None:
    cached.sees(project(), identity(), binding())
    assert cached.cache.observe(with_status(binding(), role="roles/run.invoker"), deleted=False) == NO_CHANGE
    stored = raw_of(cached, WEB)
    assert stored
    assert stored["status"] == {"role": "roles/run.invoker"}


@pytest.mark.parametrize(
    ("metadata", "required"),
    [
        ({"generation": 2}, True),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True),
        ({"finalizers": []}, True),
        ({"finalizers": [FINALIZER, "example.com/finalizer"]}, False),
        ({"annotations": {"cloudrun-identity.dev/reconcile-requested-at": "now"}}, True),
        ({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, False),
        ({"labels": {"team": "payments"}}, False),
        ({"managedFields": [{}]}, False),
    ],
)
def test_metadata_change_requires_a_reconcile(cached: Cached, metadata: Any, required: bool) -> None:
    known = {"finalizers": [FINALIZER]}
    cached.sees(binding(**known))
    assert cached.cache.observe(binding(version=2, **known | metadata), deleted=False).changed is required


def test_added_finalizer_requires_no_reconcile(cached: Cached) -> None:
    cached.sees(binding())
    assert cached.cache.observe(binding(version=2, finalizers=[FINALIZER]), deleted=False) == NO_CHANGE


def test_write_of_the_operator_wakes_referrers_only(cached: Cached) -> None:
    cached.sees(project(), identity(), binding())
    cached.cache.absorb(with_status(project(), projectNumber="42"))
    assert set(cached.woken) == {CHECKOUT, WEB}


def test_edit_in_the_reply_after_a_conflict_requires_a_reconcile(cached: Cached) -> None:
    """The watch delivers the edit later, as a version that is known by then."""
    cached.sees(binding())
    edited = binding(version=3)
    edited["metadata"]["generation"] = 2
    cached.woken.clear()
    cached.cache.absorb(edited)
    assert WEB in cached.woken
    assert not cached.cache.observe(edited, deleted=False).changed


def test_invalid_object_requires_a_reconcile(cached: Cached) -> None:
    cached.sees(binding())
    invalid = {**binding(version=2), "spec": {"role": 7}}
    assert cached.cache.observe(invalid, deleted=False).changed
    assert raw_of(cached, WEB) == invalid
    assert list(cached.cache.known()) == [WEB]
    cached.sees(binding(version=3))
    assert raw_of(cached, WEB) == binding(version=3)


def test_invalid_object_is_woken_by_its_project(cached: Cached) -> None:
    spec = {"projectRef": {"name": "payments-prod"}, "role": 7}
    project_of_binding = ObjectKey("ManagedProject", "", "payments-prod")
    cached.cache.observe({**binding(), "spec": spec}, deleted=False)
    assert cached.cache.referrers(project_of_binding) == {WEB}
    change = cached.cache.observe(project(), deleted=False)
    assert WEB in change.woken


@pytest.mark.parametrize("spec", [None, [], {"projectRef": "payments-prod"}, {"projectRef": {"name": 7}}])
def test_invalid_object_without_a_project_has_no_reference(cached: Cached, spec: object) -> None:
    cached.cache.observe({**binding(), "spec": spec}, deleted=False)
    assert cached.cache.referrers(ObjectKey("ManagedProject", "", "payments-prod")) == set()


def test_referrers_are_woken_when_an_object_becomes_invalid(cached: Cached) -> None:
    cached.sees(identity(), binding())
    invalid = {**project(), "spec": {"driftInterval": 7}}
    assert not cached.cache.is_invalid(PROJECT)
    assert cached.cache.observe(invalid, deleted=False).woken == {CHECKOUT, WEB}
    assert cached.cache.is_invalid(PROJECT)
    reported = {**with_status(invalid, conditions=[]), "spec": invalid["spec"]}
    assert cached.cache.observe(reported, deleted=False).woken == frozenset()
    assert cached.cache.observe(project(version=9), deleted=False).woken == {CHECKOUT, WEB}
    assert not cached.cache.is_invalid(PROJECT)


def test_last_valid_version_is_used_while_the_object_is_invalid(cached: Cached) -> None:
    cached.sees(project(), {**project(version=2), "spec": {"driftInterval": 7}})
    assert cached.cache.project("payments-prod") is not None
    assert not cached.cache.is_invalid(PROJECT)


def test_object_that_was_never_valid_is_known(cached: Cached) -> None:
    invalid = {**binding(), "spec": {"role": 7}}
    cached.sees(invalid)
    assert list(cached.cache.known()) == [WEB]
    assert list(cached.cache.owners()) == []
    cached.cache.observe(invalid, deleted=True)
    assert list(cached.cache.known()) == []


# Objects that a change concerns.


def test_references_are_indexed_both_ways(cached: Cached) -> None:
    cached.sees(project(), identity(), binding())
    assert cached.cache.referrers(PROJECT) == {CHECKOUT, WEB}
    assert cached.cache.referrers(CHECKOUT) == {WEB}
    cached.sees(binding(member="pricing", version=2, generation=2))
    assert cached.cache.referrers(CHECKOUT) == frozenset()
    assert cached.cache.referrers(PRICING) == {WEB}
    cached.cache.observe(binding(member="pricing", version=2), deleted=True)
    assert cached.cache.referrers(PROJECT) == {CHECKOUT}


def test_referrers_are_woken_by_visible_changes(cached: Cached) -> None:
    cached.sees(project(), binding())
    assert cached.cache.observe(identity(), deleted=False).woken == {WEB}
    status_only = with_status(identity(), email=EMAIL)
    assert cached.cache.observe(status_only, deleted=False).woken == frozenset()
    assert cached.cache.observe(identity(version=3, generation=2), deleted=False).woken == {WEB}
    assert cached.cache.observe(identity(version=3, generation=2), deleted=True).woken == {WEB}


def test_project_number_wakes_referrers(cached: Cached) -> None:
    cached.sees(project(), identity())
    known = with_status(project(), projectNumber="42")
    assert cached.cache.observe(known, deleted=False).woken == {CHECKOUT}


def test_first_conditions_of_a_project_wake_referrers(cached: Cached) -> None:
    cached.sees(project(), identity(), binding())
    reconciled = with_status(project(), conditions=[])
    assert cached.cache.observe(reconciled, deleted=False).woken == {CHECKOUT, WEB}
    reconciled_identity = with_status(identity(), conditions=[])
    assert cached.cache.observe(reconciled_identity, deleted=False).woken == frozenset()


def test_other_declarers_declare_the_same_account(cached: Cached) -> None:
    cached.sees(identity(), identity("pricing"))
    assert [each.metadata.name for each in cached.cache.other_declarers(CHECKOUT)] == ["pricing"]
    assert cached.cache.observe(identity(), deleted=True).woken == {PRICING}
    assert list(cached.cache.other_declarers(PRICING)) == []


def test_deleted_binding_wakes_no_other_binding(cached: Cached) -> None:
    cached.sees(project(), identity(), binding(), binding("ops"))
    assert list(cached.cache.other_declarers(WEB)) == []
    assert OPS not in cached.cache.observe(binding(), deleted=True).woken


def test_deleting_project_is_woken_by_its_last_deleted_object(cached: Cached) -> None:
    cached.sees(project(), identity())
    assert cached.cache.observe(identity(), deleted=True).woken == frozenset()
    cached.sees(project(version=2, deletionTimestamp="2026-01-01T00:00:00Z"), identity(version=3))
    assert cached.cache.observe(identity(version=3), deleted=True).woken == {PROJECT}


def test_usable_account_wakes_referrers_of_its_identity(cached: Cached) -> None:
    cached.sees(project(), identity(), binding())
    cached.ledgers.record(RECORD.replace(unique_id=""))
    assert cached.woken == []
    cached.ledgers.record(RECORD)
    assert cached.woken == [WEB]
    cached.ledgers.record(None)
    assert cached.woken == [WEB, WEB]


def test_lost_and_restored_account_wakes_referrers(
    cached: Cached,
) -> None:
    cached.sees(project(), identity(), binding())
    cached.ledgers.record(RECORD)
    cached.ledgers.record(RECORD.replace(lost=AccountLoss.DELETED))
    cached.ledgers.record(RECORD.replace(disabled=True))
    cached.ledgers.record(RECORD)
    assert cached.woken == [WEB] * 3


def test_abandoned_account_belongs_to_no_identity(cached: Cached) -> None:
    cached.sees(project(), identity())
    cached.ledgers.record(RECORD)
    cached.ledgers.record(RECORD.replace(owner=""))
    assert cached.cache.identities() == {}
    assert cached.start().identities() == {}


def test_declared_accounts_are_found_by_e_mail(cached: Cached) -> None:
    cached.sees(identity())
    cached.ledgers.record(RECORD)
    assert cached.cache.identities() == {EMAIL: DeclaredIdentity("payments", "checkout")}
    assert cached.cache.owner_of(EMAIL.upper()) == RECORD
    assert cached.start().identities() == {EMAIL: DeclaredIdentity("payments", "checkout")}
    cached.ledgers.record(None)
    assert cached.cache.identities() == {}
    assert cached.cache.owner_of(EMAIL) is None


def test_identity_that_is_being_deleted_declares_no_account(cached: Cached) -> None:
    assert not cached.cache.is_account_declared(EMAIL, "111")
    cached.sees(identity())
    cached.ledgers.record(RECORD)
    assert cached.cache.is_account_declared(EMAIL, "111")
    assert not cached.cache.is_account_declared(EMAIL, "222")
    cached.sees(identity(version=2, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert not cached.cache.is_account_declared(EMAIL, "111")


# Queries.


def test_objects_are_found_by_kind_and_name(cached: Cached) -> None:
    cached.sees(project(), identity(), binding())
    found = cached.cache.project("payments-prod")
    assert isinstance(found, ManagedProject)
    assert cached.cache.project("another") is None
    assert isinstance(cached.cache.identity("payments", "checkout"), CloudRunIdentity)
    assert cached.cache.identity("shop", "checkout") is None
    assert [each.metadata.name for each in cached.cache.objects(IAMBinding)] == ["web"]
    assert list(cached.cache.objects(IdentityAttachment)) == []
    cached.cache.observe(binding(), deleted=True)
    assert list(cached.cache.objects(IAMBinding)) == []


def test_owners_are_the_namespaced_objects(cached: Cached) -> None:
    cached.sees(project(), identity(), binding())
    assert {str(each) for each in cached.cache.owners()} == {
        "CloudRunIdentity/payments/checkout/u-checkout",
        "IAMBinding/payments/web/u-web",
    }


def test_changed_namespace_wakes_its_objects(cached: Cached) -> None:
    def namespace(**metadata: Any) -> Object:
        return {"kind": "Namespace", "metadata": {"name": "payments", **metadata}}

    cached.sees(project(), identity())
    assert cached.cache.observe_namespace(namespace(), deleted=False) == {CHECKOUT}
    assert cached.cache.observe_namespace(namespace(resourceVersion="2"), deleted=False) == frozenset()
    assert cached.cache.observe_namespace(namespace(labels={"a": "b"}), deleted=False) == {CHECKOUT}
    leaving = namespace(labels={"a": "b"}, deletionTimestamp="2026-01-01T00:00:00Z")
    assert cached.cache.observe_namespace(leaving, deleted=False) == {CHECKOUT}
    assert cached.cache.is_terminating("payments")
    assert cached.cache.observe_namespace(leaving, deleted=True) == {CHECKOUT}
    assert not cached.cache.has_namespace("payments")
    assert not cached.cache.is_terminating("payments")


def test_objects_are_counted_by_readiness(cached: Cached) -> None:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "UpToDate",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    cached.sees(project(), with_status(binding(), conditions=[ready]))
    assert cached.cache.counts(NOW).ready == {
        ("ManagedProject", "Unknown"): 1,
        ("IAMBinding", "True"): 1,
    }

    cached.sees({**project(version=5), "spec": {"driftInterval": 7}}, {**binding(version=5), "spec": {}})
    counts = cached.cache.counts(NOW)
    assert counts.ready == {("ManagedProject", "False"): 1, ("IAMBinding", "False"): 1}
    assert {kind for kind, count in counts.stalled.items() if count} == {"ManagedProject", "IAMBinding"}

    cached.sees(project(version=6), binding(version=6))
    assert cached.cache.counts(NOW).ready == {
        ("ManagedProject", "Unknown"): 1,
        ("IAMBinding", "Unknown"): 1,
    }
    cached.sees(with_status(binding(version=7), conditions=[ready]), {**project(version=7), "spec": {"x": 1}})
    cached.cache.observe(binding(version=8), deleted=True)
    cached.cache.observe(project(version=8), deleted=True)
    assert cached.cache.counts(NOW).ready == {}
