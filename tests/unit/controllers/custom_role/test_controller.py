"""A CustomRole: its owner, its users, and its status."""

from typing import cast

from cloudrun_identity.api import CustomRole, LedgerEntry, LedgerRole, Origin, Reason, RoleState
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.reconcile.cluster_state import ObjectKey, custom_role_key, role_key
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from tests.unit.controllers.carry_out import carried_out
from tests.unit.controllers.cluster_state import FakeClusterState, parsed

from .roles import NAME, PROJECT, RECORD, ROLE, TARGET, controller, role, seen, want


def test_unsupported_permission_is_an_issue() -> None:
    found = seen("run.jobs.get", permissions=frozenset({"run.jobs.run"}))
    summary = controller().summarize(want(), found)
    assert summary.fields["unsupported_permissions"] == ("run.jobs.get",)
    assert summary.issues == ("spec.permissions: custom roles cannot hold run.jobs.get; they are left out",)


def test_role_of_another_object_is_refused_with_a_remedy() -> None:
    other = cast("CustomRole", parsed(ROLE.replace("name: runner", "name: elder")))
    remedy = "delete that object first, or choose another roleID"
    owned = "spec.roleID: role runner is owned by CustomRole payments/elder"
    assert refusal("payments/elder", other) == f"{owned}; {remedy}"

    remedy = "which is deleted; create that object again to manage it, or choose another roleID"
    assert refusal("payments/elder") == f"{owned}, {remedy}"


def test_role_of_another_namespace_is_refused_without_naming_its_object() -> None:
    text = ROLE.replace("name: runner, namespace: payments", "name: secret-name, namespace: shop")
    other = cast("CustomRole", parsed(text))
    assert other.metadata.namespace == "shop"
    assert refusal("shop/secret-name", other) == (
        "spec.roleID: role runner is managed for another namespace; ask the administrators of the project "
        "which one may manage it, or choose another roleID"
    )


def test_role_left_by_another_namespace_is_released_by_administrators() -> None:
    message = refusal("shop/secret-name")
    assert "ask the administrators of the project to release it" in message
    assert "cloudrun-identity.dev/release-orphans" in message
    assert "shop" not in message


def refusal(owner: str, *others: CustomRole) -> str:
    """Return why the object cannot have the role that is recorded for `owner`."""
    record = LedgerRole(
        role_id="runner",
        owner=owner,
        owner_uid="u-other",
        origin=Origin.CREATED,
        state=RoleState.PRESENT,
    )
    cluster = FakeClusterState(PROJECT, *others, roles=[record])
    found = controller().resolve(role(), Allowed(PROJECT, observe=False), cluster)
    assert isinstance(found, Blocked)
    assert isinstance(found.outcome, Refused)
    assert found.outcome.reason is Reason.CONFLICT
    return found.outcome.message


# Deletion


async def message_of_deletion(cluster: FakeClusterState, *registered: tuple[Grant, str]) -> str:
    """Return the message of a deletion that waits for the users of the role."""
    kind = controller(*registered)
    deletion = kind.resolve_deletion(role(), cluster, abandon=False)
    assert deletion is not None
    outcome = (await carried_out(kind, deletion)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.IN_USE
    return outcome.message


def entries_of(*owners: str) -> dict[Grant, LedgerEntry]:
    grant = Grant(TARGET, NAME, "group:ops@example.com")
    return {grant: entry_of(grant, owners)}


async def test_deletion_waits_for_objects_that_name_the_role() -> None:
    cluster = FakeClusterState(PROJECT, roles=[RECORD])
    cluster.references[custom_role_key("payments", "runner")] = {ObjectKey("IAMBinding", "payments", "ops")}
    cluster.references[role_key(NAME)] = {ObjectKey("CloudRunIdentity", "payments", "web")}
    message = await message_of_deletion(cluster)
    assert "used by CloudRunIdentity payments/web, IAMBinding payments/ops; remove it from these" in message


async def test_deletion_waits_for_a_holder() -> None:
    cluster = FakeClusterState(PROJECT, roles=[RECORD], entries=entries_of("IAMBinding/payments/ops/u"))
    assert "used by IAMBinding payments/ops;" in await message_of_deletion(cluster)


async def test_deletion_waits_for_a_registered_grant_of_the_role() -> None:
    registered = (Grant(TARGET, NAME, "group:ops@example.com"), "CloudRunIdentity/payments/web/u")
    message = await message_of_deletion(FakeClusterState(PROJECT, roles=[RECORD]), registered)
    assert "used by CloudRunIdentity payments/web;" in message


def test_objects_of_other_namespaces_do_not_block_the_deletion() -> None:
    grant = Grant(TARGET, NAME, "group:ops@example.com")
    cluster = FakeClusterState(PROJECT, roles=[RECORD], entries=entries_of("IAMBinding/shop/ops/u"))
    cluster.references[role_key(NAME)] = {ObjectKey("IAMBinding", "shop", "web")}
    kind = controller((grant, "CloudRunIdentity/shop/web/u"))
    deletion = kind.resolve_deletion(role(), cluster, abandon=False)
    assert deletion is not None
    assert deletion.users == ()


async def test_message_names_the_first_users_and_counts_the_others() -> None:
    owners = (f"IAMBinding/payments/ops-{each}/u" for each in range(5))
    message = await message_of_deletion(
        FakeClusterState(PROJECT, roles=[RECORD], entries=entries_of(*owners))
    )
    assert "IAMBinding payments/ops-2 and 2 more; remove it from these objects, or delete them" in message
