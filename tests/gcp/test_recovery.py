"""Recovery of lost ledgers: records from objects, their status and reads of the emulator."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import LedgerAccount, Origin
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.objects import object_name, to_object
from cloudrun_identity.plan.recovery import RecoveredLedger, Recovery, RecoveryOptions, recover
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import (
    Binding,
    CustomRole,
    Project,
    Seed,
    ServiceAccount,
)
from tests.gcp.conftest import Observer

NAMESPACE = "cloudrun-identity"
WEB = "webshop@shop-1234.iam.gserviceaccount.com"
HOME, ACCOUNT = Target.project("shop-1234"), Target.service_account("shop-1234", WEB)
SEED = Seed(
    projects=(
        Project(
            project_id="shop-1234",
            project_number="123456789012",
            service_accounts=(ServiceAccount(account_id="webshop"),),
            roles=(CustomRole(role_id="runner", title="Runner", permissions=("run.jobs.run",)),),
            policy=(
                Binding(
                    role="roles/run.viewer",
                    members=(f"serviceAccount:{WEB}", "group:ops@example.com", "user:ann@example.com"),
                ),
            ),
        ),
    ),
)
OBJECTS = """
kind: ManagedProject
metadata: {name: shop, uid: u-0}
spec:
  projectID: shop-1234
  namespaces: {names: [payments]}
  guardrails:
    grants: [{roles: [roles/run.viewer], targetKinds: [Project], members: ["group:ops@*", identities]}]
    customRoles: {permissions: ["run.*"]}
---
kind: CloudRunIdentity
metadata: {namespace: payments, name: webshop, uid: u-1, creationTimestamp: "2026-03-01T12:00:00Z"}
spec: {projectRef: {name: shop}, roles: [{role: roles/run.viewer}]}
---
kind: IAMBinding
metadata: {namespace: payments, name: viewers, uid: u-2}
spec:
  projectRef: {name: shop}
  target: {kind: Project}
  role: roles/run.viewer
  members: [{principal: "group:ops@example.com"}, {principal: "group:absent@example.com"}]
---
kind: CustomRole
metadata: {namespace: payments, name: runner, uid: u-3}
spec: {projectRef: {name: shop}, roleID: runner, permissions: [run.jobs.run]}
"""


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as emulator:
        yield emulator


@pytest.fixture
async def google(emulator: Emulator) -> AsyncIterator[GoogleClients]:
    clients = GoogleClients(emulator.grpc_address, Observer(), read_only=True)
    yield clients
    await clients.close()


def objects(**statuses: Any) -> list[Object]:
    """Return the objects of a cluster, with these statuses by name."""
    found: list[Object] = list(yaml.safe_load_all(OBJECTS))
    for number, obj in enumerate(found, 1):
        obj["apiVersion"] = "cloudrun-identity.dev/v1alpha1"
        obj["metadata"] |= {"resourceVersion": str(number), "generation": 1}
        if status := statuses.get(obj["metadata"]["name"]):
            obj["status"] = status
    namespace = {"kind": "Namespace", "metadata": {"name": "payments", "uid": "n", "resourceVersion": "9"}}
    return [namespace, *found]


async def status_of_webshop(google: GoogleClients, **changes: str) -> dict[str, str]:
    """Return the status that the operator wrote before the ledgers were lost."""
    [ledger] = [
        each
        for each in (await recovered(google, objects(), without_status=True)).ledgers
        if each.target == ACCOUNT
    ]
    assert ledger.account
    return {"email": WEB, "uniqueID": ledger.account.unique_id, "origin": "Created", **changes}


async def recovered(google: GoogleClients, listed: list[Object], **options: bool) -> Recovery:
    return await recover(google, listed, NAMESPACE, RecoveryOptions(**options))


def by_target(recovery: Recovery) -> dict[Target, RecoveredLedger]:
    return {ledger.target: ledger for ledger in recovery.ledgers}


async def test_grant_that_is_declared_admitted_and_present_is_managed(google: GoogleClients) -> None:
    ledgers = by_target(await recovered(google, objects()))
    assert list(ledgers) == [HOME]
    [(grant, entry)] = ledgers[HOME].entries.items()
    assert (grant.member, entry.owners) == ("group:ops@example.com", ("IAMBinding/payments/viewers/u-2",))
    assert entry.is_made
    assert not entry.present_before
    assert list(ledgers[HOME].lines()) == [
        "roles/run.viewer for group:ops@example.com  (IAMBinding payments/viewers)"
    ]


async def test_account_and_role_are_not_recovered_without_a_status(google: GoogleClients) -> None:
    """Any namespace of the project could declare an account, and obtain it in this way."""
    recovery = await recovered(google, objects())
    assert not any(each.account or each.roles for each in recovery.ledgers)
    assert "CloudRunIdentity payments/webshop" in {str(each.object) for each in recovery.blockers}


async def test_account_and_role_are_recovered_on_request_as_adopted(google: GoogleClients) -> None:
    ledgers = by_target(await recovered(google, objects(), without_status=True))
    account = ledgers[ACCOUNT].account
    assert account
    assert (account.origin, account.owner, account.owner_uid) == (Origin.ADOPTED, "payments/webshop", "u-1")
    assert [(role.role_id, role.origin) for role in ledgers[HOME].roles] == [("runner", Origin.ADOPTED)]
    assert {grant.member for grant in ledgers[HOME].entries} == {
        "group:ops@example.com",
        f"serviceAccount:{WEB}",
    }


async def test_status_proves_the_origin_of_account_and_role(google: GoogleClients) -> None:
    role = {"name": "projects/shop-1234/roles/runner", "origin": "Created"}
    listed = objects(webshop=await status_of_webshop(google), runner=role)
    ledgers = by_target(await recovered(google, listed))
    account = ledgers[ACCOUNT].account
    assert account
    assert account.origin is Origin.CREATED
    assert [role.origin for role in ledgers[HOME].roles] == [Origin.CREATED]


async def test_status_of_a_former_account_proves_nothing(google: GoogleClients) -> None:
    listed = objects(webshop=await status_of_webshop(google, uniqueID="1"))
    assert ACCOUNT not in by_target(await recovered(google, listed))


async def test_account_belongs_to_the_oldest_of_its_declarers(google: GoogleClients) -> None:
    listed = objects()
    [identity] = [each for each in listed if each["kind"] == "CloudRunIdentity"]
    younger = {"name": "squatter", "uid": "u-9", "resourceVersion": "8"}
    late = {**identity["metadata"], **younger, "creationTimestamp": "2026-03-02T12:00:00Z"}
    spec = {**identity["spec"], "accountID": "webshop"}
    listed.append({**identity, "metadata": late, "spec": spec})
    account = by_target(await recovered(google, listed, without_status=True))[ACCOUNT].account
    assert account
    assert account.owner == "payments/webshop"


async def test_observed_object_recovers_no_grant(google: GoogleClients) -> None:
    listed = objects()
    for each in listed:
        if each["kind"] == "IAMBinding":
            each["spec"]["managementPolicy"] = "Observe"
    assert HOME not in by_target(await recovered(google, listed))


async def test_object_that_is_being_deleted_recovers_no_grant(google: GoogleClients) -> None:
    listed = objects()
    for each in listed:
        if each["kind"] == "IAMBinding":
            each["metadata"]["deletionTimestamp"] = "2026-03-03T12:00:00Z"
    assert HOME not in by_target(await recovered(google, listed))


async def test_existing_records_are_kept_and_not_proposed_again(google: GoogleClients) -> None:
    ledgers = by_target(await recovered(google, objects()))
    stored = ledgers[HOME].change()(Ledger.of(HOME))
    raw = to_object(stored, {"name": object_name(HOME), "namespace": NAMESPACE, "uid": "l"})
    raw["metadata"] |= {"resourceVersion": "20", "generation": 1}
    recovery = await recovered(google, [*objects(), raw])
    assert recovery.ledgers == ()


async def test_grant_that_was_present_before_is_managed_only_on_request(google: GoogleClients) -> None:
    """An operator that ran without its ledgers has recorded its own grants as unmanaged."""
    stored = by_target(await recovered(google, objects()))[HOME].change()(Ledger.of(HOME))
    entries = {
        grant: entry.model_copy(update={"present_before": True}) for grant, entry in stored.entries.items()
    }
    raw = to_object(
        stored.with_entries(entries), {"name": object_name(HOME), "namespace": NAMESPACE, "uid": "l"}
    )
    raw["metadata"] |= {"resourceVersion": "20", "generation": 1}
    assert (await recovered(google, [*objects(), raw])).ledgers == ()
    found = by_target(await recovered(google, [*objects(), raw], present_before=True))
    assert not any(entry.present_before for entry in found[HOME].entries.values())


def test_record_of_another_owner_is_kept() -> None:
    other = LedgerAccount(email=WEB, unique_id="1", owner="orders/webshop", owner_uid="u-8")
    mine = other.model_copy(update={"owner": "payments/webshop"})
    ledger = Ledger.of(ACCOUNT).with_account(other)
    assert RecoveredLedger(ACCOUNT, mine, (), {}).change()(ledger) == ledger
