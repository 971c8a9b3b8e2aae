from typing import Any, cast

import pytest

from cloudrun_identity.api import (
    CloudRunIdentity,
    LedgerAttachment,
    LedgerRole,
    ManagedProject,
    ManagementPolicy,
    Origin,
    ProjectOperator,
    Reason,
    RoleState,
)
from cloudrun_identity.reconcile.cluster_state import ObjectKey, project_key
from cloudrun_identity.reconcile.outcomes import Paused, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, check_preconditions, other_project
from tests.unit.controllers.cluster_state import (
    IDENTITY,
    PROJECT,
    FakeClusterState,
    identity,
    parsed,
    project,
    record,
)


def blocked(*args: object, **kwargs: object) -> Blocked:
    allowed = check_preconditions(*args, **kwargs)
    assert isinstance(allowed, Blocked)
    return allowed


def test_admitted_object_is_allowed() -> None:
    delegated = project()
    allowed = check_preconditions(identity(), FakeClusterState(delegated))
    assert allowed == Allowed(delegated, observe=False)
    assert allowed.project_id == "payments-prod-1234"


@pytest.mark.parametrize(("own", "projects"), [("Observe", "Manage"), ("Manage", "Observe")])
def test_observe_applies_if_the_object_or_its_project_says_so(own: str, projects: str) -> None:
    allowed = check_preconditions(
        identity(managementPolicy=own), FakeClusterState(project(managementPolicy=projects))
    )
    assert isinstance(allowed, Allowed)
    assert allowed.observe


def test_missing_project_is_waited_for() -> None:
    allowed = blocked(identity(), FakeClusterState())
    assert isinstance(allowed.outcome, Waiting)
    assert allowed.outcome.reason is Reason.DEPENDENCY_NOT_FOUND
    assert allowed.unresolved == (
        "spec.projectRef: ManagedProject payments-prod does not exist; create it, or correct the reference"
    )


def test_invalid_project_is_reported_as_invalid() -> None:
    cluster = FakeClusterState()
    cluster.invalid = {project_key("payments-prod")}
    allowed = blocked(identity(), cluster)
    message = "ManagedProject payments-prod is invalid; correct it as its Ready condition says"
    assert allowed.outcome == Waiting(Reason.DEPENDENCY_NOT_READY, f"spec.projectRef: {message}")
    assert allowed.unresolved == f"spec.projectRef: {message}"
    assert other_project("payments-prod", "shop", cluster, "spec.usableFrom[0].projectRef") == Waiting(
        Reason.DEPENDENCY_NOT_READY, f"spec.usableFrom[0].projectRef: {message}"
    )


@pytest.mark.parametrize(
    ("own", "projects", "said", "suspended"),
    [
        (
            True,
            False,
            "spec.suspend is true: nothing is read or written, except to remove temporary grants at their "
            "end",
            "cloudrunidentity -n payments checkout",
        ),
        (
            True,
            True,
            "spec.suspend is true: nothing is read or written",
            "cloudrunidentity -n payments checkout",
        ),
        (
            False,
            True,
            "ManagedProject payments-prod is suspended: nothing is read or written",
            "managedproject payments-prod",
        ),
    ],
)
def test_suspend_of_the_object_or_its_project_pauses(
    own: bool, projects: bool, said: str, suspended: str
) -> None:
    allowed = blocked(identity(suspend=own), FakeClusterState(project(suspend=projects)))
    assert allowed.outcome == Paused(
        Reason.SUSPENDED,
        f"{said}, until you run: kubectl patch {suspended} --type=merge "
        """-p '{"spec":{"suspend":false}}'""",
    )


def test_ends_of_grants_in_an_observed_project_are_not_promised() -> None:
    """`expirations` removes no grant there at its end."""
    observed = project(management_policy=ManagementPolicy.OBSERVE)
    allowed = blocked(identity(suspend=True), FakeClusterState(observed))
    assert "nothing is read or written, until you run" in allowed.outcome.message


def test_object_in_a_terminating_namespace_is_left_and_not_ready() -> None:
    cluster = FakeClusterState(project())
    cluster.terminating = {"payments"}
    stopped = blocked(identity(), cluster)
    assert isinstance(stopped.outcome, Waiting)
    assert stopped.outcome.reason is Reason.DELETING
    assert "Namespace payments is being deleted" in stopped.outcome.message


@pytest.mark.parametrize(
    ("mine", "others", "wins"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", True),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", False),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
    ],
)
def test_oldest_of_conflicting_objects_is_allowed_then_the_smaller_uid(
    mine: str, others: str, wins: bool
) -> None:
    me = identity(IDENTITY.replace("generation: 1", f"generation: 1, creationTimestamp: '{mine}'"))
    other = identity(
        IDENTITY.replace("namespace: payments", "namespace: shop")
        .replace("u-checkout", "u-younger-by-uid")
        .replace("generation: 1", f"generation: 1, creationTimestamp: '{others}'")
    )
    cluster = FakeClusterState(project(), me, other)
    cluster.declarers = {ObjectKey.of(me): [other]}
    allowed = check_preconditions(me, cluster)
    assert isinstance(allowed, Allowed) is wins
    if isinstance(allowed, Blocked):
        assert isinstance(allowed.outcome, Refused)
        assert allowed.outcome.reason is Reason.CONFLICT
        assert "delete" not in allowed.outcome.message
        assert "shop/checkout" not in allowed.outcome.message, "it belongs to another namespace"


def declared(namespace: str, day: int, **spec: Any) -> CloudRunIdentity:
    """Return an identity that declares the same account as all others, created on a day."""
    text = IDENTITY.replace("namespace: payments", f"namespace: {namespace}")
    text = text.replace("u-checkout", f"u-{namespace}-{day}")
    return identity(
        text.replace("generation: 1", f"generation: 1, creationTimestamp: '2026-01-0{day}T00:00:00Z'"), **spec
    )


@pytest.mark.parametrize("why", ["suspended", "refused", "namespace not admitted", "name not admitted"])
def test_older_object_that_cannot_have_the_resource_is_no_rival(why: str) -> None:
    mine = declared("payments", 2, displayName="Checkout")
    older = declared("shop", 1, suspend=why == "suspended", displayName="")
    delegated = project(
        namespaces={"names": ["payments"] if why == "namespace not admitted" else ["payments", "shop"]},
        guardrails={"naming": {"requireDisplayName": why == "name not admitted"}},
    )
    cluster = FakeClusterState(delegated, mine, older)
    cluster.declarers = {ObjectKey.of(mine): [older]}
    cluster.refused = {ObjectKey.of(older)} if why == "refused" else set()
    assert isinstance(check_preconditions(mine, cluster), Allowed)

    cluster.refused = set()
    could = declared("shop", 1, displayName="Shop")
    cluster = FakeClusterState(
        project(namespaces={"names": ["payments", "shop"]}, guardrails=delegated.spec.guardrails), mine, could
    )
    cluster.declarers = {ObjectKey.of(mine): [could]}
    assert isinstance(check_preconditions(mine, cluster), Blocked)


def test_rival_of_the_same_namespace_is_named() -> None:
    mine = declared("payments", 2)
    older = mine.replace(metadata=declared("payments", 1).metadata.replace(name="elder"))
    cluster = FakeClusterState(project(), mine, older)
    cluster.declarers = {ObjectKey.of(mine): [older]}
    outcome = blocked(mine, cluster).outcome
    assert isinstance(outcome, Refused)
    assert outcome.message == (
        "CloudRunIdentity payments/elder declares the same resource and manages it; delete one of the two"
    )


def test_recorded_owner_is_a_rival_whatever_its_age() -> None:
    mine, younger = declared("payments", 1), declared("shop", 2, suspend=True)
    cluster = FakeClusterState(project(), mine, younger, accounts=[record(owner="shop/checkout")])
    cluster.declarers = {ObjectKey.of(mine): [younger], ObjectKey.of(younger): [mine]}
    cluster.refused = {ObjectKey.of(younger)}
    outcome = blocked(mine, cluster).outcome
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONFLICT


def test_attachment_that_reassigned_the_workload_is_a_rival_at_any_age() -> None:
    text = """
    kind: IdentityAttachment
    metadata: {name: web, namespace: %s, uid: u-%s, creationTimestamp: '2026-01-0%dT00:00:00Z'}
    spec:
      projectRef: {name: payments-prod}
      workload: {kind: Service, location: europe-west1, name: web}
      identityRef: {name: checkout}
    """
    mine, younger = parsed(text % ("payments", "mine", 1)), parsed(text % ("shop", "younger", 2))
    cluster = FakeClusterState(project(), mine, younger)
    cluster.declarers = {ObjectKey.of(mine): [younger], ObjectKey.of(younger): [mine]}
    assert isinstance(check_preconditions(mine, cluster), Allowed)

    cluster.attached = LedgerAttachment(
        owner="shop/web", owner_uid="u-younger", workload_uid="w-1", service_account="checkout@x"
    )
    assert isinstance(check_preconditions(mine, cluster), Blocked)


def test_recorded_owner_of_a_role_wins_over_an_older_object() -> None:
    role = """
    kind: CustomRole
    metadata: {name: runner, namespace: %s, uid: u-%s, creationTimestamp: '2026-01-0%dT00:00:00Z'}
    spec: {projectRef: {name: payments-prod}, roleID: runner, permissions: [run.jobs.run]}
    """
    mine, older = parsed(role % ("payments", "mine", 2)), parsed(role % ("shop", "older", 1))
    record = LedgerRole(
        role_id="runner",
        owner="payments/runner",
        owner_uid="u-mine",
        origin=Origin.CREATED,
        state=RoleState.PRESENT,
    )

    def allowed(*records: LedgerRole) -> Allowed | Blocked:
        cluster = FakeClusterState(project(), mine, older, roles=records)
        cluster.declarers = {ObjectKey.of(mine): [older]}
        return check_preconditions(mine, cluster)

    assert isinstance(allowed(record), Allowed)
    assert isinstance(allowed(), Blocked)
    assert isinstance(allowed(record.replace(state=RoleState.DELETED)), Blocked)


def test_changed_project_reference_is_a_conflict() -> None:
    moved = identity(IDENTITY + "status: {projectID: another-project}\n")
    allowed = blocked(moved, FakeClusterState(project()))
    assert isinstance(allowed.outcome, Refused)
    assert allowed.outcome.reason is Reason.CONFLICT


def test_namespace_that_is_not_admitted_is_denied() -> None:
    other = identity(IDENTITY.replace("namespace: payments", "namespace: other"))
    allowed = blocked(other, FakeClusterState(project(), namespaces=["payments", "other"]))
    assert isinstance(allowed.outcome, Refused)
    assert allowed.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert allowed.unresolved == allowed.outcome.message, "a reference resolves only if it admits the object"


def test_namespace_missing_from_the_cache_is_waited_for() -> None:
    """Objects and their namespace arrive by different watches, in either order."""
    allowed = blocked(identity(), FakeClusterState(project(), namespaces=["shop"]))
    assert isinstance(allowed.outcome, Waiting)
    assert "payments" in allowed.outcome.message
    assert allowed.transient
    assert allowed.unresolved, "existing grants are neither released nor repaired"


DENIED = """
status:
  conditions:
  - {type: Ready, status: "False", reason: PermissionDenied, message: denied, observedGeneration: 1,
     lastTransitionTime: "2026-01-01T00:00:00Z"}
"""


@pytest.mark.parametrize(
    ("status", "cause", "transient"),
    [(DENIED, ": denied", False), ("", "; see: kubectl describe managedproject payments-prod", True)],
)
def test_project_that_is_not_ready_is_waited_for(status: str, cause: str, transient: bool) -> None:
    """A project before its first reconcile is about to become ready: no status is written meanwhile."""
    unready = PROJECT.replace('status: {projectNumber: "417203958816"}', status)
    allowed = blocked(identity(), FakeClusterState(project(unready)))
    assert isinstance(allowed.outcome, Waiting)
    assert allowed.outcome.reason is Reason.DEPENDENCY_NOT_READY
    assert allowed.unresolved == f"spec.projectRef: ManagedProject payments-prod is not ready{cause}"
    assert allowed.transient is transient


def test_project_in_deletion_still_serves_its_objects() -> None:
    leaving = PROJECT.replace("generation: 1", "generation: 1, deletionTimestamp: '2026-01-01T00:00:00Z'")
    assert isinstance(check_preconditions(identity(), FakeClusterState(project(leaving))), Allowed)


def test_project_depends_on_no_other_object() -> None:
    unready = project(PROJECT.replace('status: {projectNumber: "417203958816"}', ""))
    assert check_preconditions(unready, FakeClusterState()) == Allowed(unready, observe=False)
    assert isinstance(blocked(project(suspend=True), FakeClusterState()).outcome, Paused)


def test_second_project_with_the_same_id_is_a_conflict() -> None:
    younger = ManagedProject.model_validate(
        {"metadata": {"name": "again", "uid": "u-z", "creationTimestamp": "2026-01-02T00:00:00Z"}, "spec": {}}
    )
    elder = project(
        PROJECT.replace("generation: 1", "generation: 1, creationTimestamp: '2026-01-01T00:00:00Z'")
    )
    cluster = FakeClusterState(younger, elder)
    cluster.declarers = {ObjectKey.of(younger): [elder], ObjectKey.of(elder): [younger]}
    assert isinstance(blocked(younger, cluster).outcome, Refused)
    assert isinstance(check_preconditions(elder, cluster), Allowed)


@pytest.mark.parametrize("adoption", ["Fail", "Adopt"])
def test_object_takes_back_what_it_left_before_an_older_one(adoption: str) -> None:
    """Neither the age of a waiting object nor a missing guardrail entry gives away what was left."""
    returning = identity(adoption=adoption)
    older = IDENTITY.replace("payments, ", 'shop, creationTimestamp: "2020-01-01T00:00:00Z", ')
    waiting = cast("CloudRunIdentity", parsed(older))
    cluster = FakeClusterState(project(), returning, waiting)
    cluster.declarers = {ObjectKey.of(returning): [waiting], ObjectKey.of(waiting): [returning]}
    cluster.left_accounts = [record(owner="", left_by="payments/checkout")]

    assert isinstance(check_preconditions(returning, cluster), Allowed)
    refused = blocked(waiting, cluster).outcome
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.CONFLICT
    assert "payments" not in refused.message.replace("payments-prod", "")


def test_project_of_another_operator_is_not_used_by_its_neighbors() -> None:
    other = project()
    operator = ProjectOperator(namespace="elsewhere", lease="cloudrun-identity")
    other = other.model_copy(update={"status": other.status.replace(operator=operator)})
    cluster = FakeClusterState(other)
    name, namespace = other.metadata.name, identity().metadata.namespace
    assert other_project(name, namespace, cluster, "spec.projectRef") == other
    cluster.operated_elsewhere = frozenset({name})
    found = other_project(name, namespace, cluster, "spec.projectRef")
    assert isinstance(found, Waiting)
    assert "belongs to another operator" in found.message


def test_other_project_that_no_operator_has_claimed_yet_is_not_ready() -> None:
    cluster = FakeClusterState(project())
    cluster.operated_elsewhere = frozenset({"payments-prod"})  # the status names no operator
    found = other_project("payments-prod", "payments", cluster, "spec.projectRef")
    assert isinstance(found, Waiting)
    assert "another operator" not in found.message
