"""Grants that Google refuses: each invalid grant is rejected alone, and the valid one is granted.

Unlike the fault matrix, these tests inject nothing: the emulator applies the rules of real policies.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.cloud import iam_admin_v1 as iam
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import field_mask_pb2

from cloudrun_identity.api import GrantState, Reason, TargetKind
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.reconcile.outcomes import Failing, Refused, Waiting
from cloudrun_identity_playground.emulator.seed import Seed

from .bench import Bench, open_bench

PROJECT = Target(TargetKind.PROJECT, "shop-1234")
JOB = Target(TargetKind.JOB, "shop-1234", "europe-west1", "nightly")
SERVICE = Target(TargetKind.SERVICE, "shop-1234", "europe-west1", "web")
SECRET = Target(TargetKind.SECRET, "shop-1234", name="stripe-key")
EMAIL = "checkout@shop-1234.iam.gserviceaccount.com"
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "shop-1234", name=EMAIL)
MEMBER = f"serviceAccount:{EMAIL}"
AGENT_EMAIL = "service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
AGENT = f"serviceAccount:{AGENT_EMAIL}"
OF_POOLS = (
    "serviceAccount:shop-1234.hub.id.goog[jobs/prefect]",
    "group:shop-1234.svc.id.goog:/allAuthenticatedUsers/",
    "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/Ann Example",
    "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p/group/A  B",
)
GHOST = "serviceAccount:ghost-1@shop-1234.iam.gserviceaccount.com"
ANN = "user:ann@example.com"
EXPIRY = IAMCondition("until 2040", expression="request.time < timestamp('2040-01-01T00:00:00Z')")

INVOKER, ACCESSOR = "roles/run.invoker", "roles/secretmanager.secretAccessor"
SET_PROJECT = "google.cloud.resourcemanager.v3.Projects/SetIamPolicy"
IAM = "google.iam.admin.v1.IAM"
GOOD_ROLES = {
    PROJECT: "roles/run.viewer",
    JOB: INVOKER,
    SERVICE: INVOKER,
    SECRET: ACCESSOR,
    ACCOUNT: "roles/iam.serviceAccountUser",
}


def seed(project: dict[str, Any] | None = None, **switches: Any) -> Seed:
    """Return a seed with one target of every kind."""
    whole = {
        "projectID": "shop-1234",
        "serviceAccounts": [{"accountID": "checkout"}],
        "services": [{"location": "europe-west1", "name": "web"}],
        "jobs": [{"location": "europe-west1", "name": "nightly"}],
        "secrets": [{"name": "stripe-key"}],
    }
    other = {"projectID": "tools", "roles": [{"roleID": "deployer"}]}
    return Seed.model_validate({"strict": True, "projects": [whole | (project or {}), other]} | switches)


@dataclass(frozen=True)
class Refusal:
    """A grant that Google refuses."""

    name: str
    grant: Grant
    project: dict[str, Any] = field(default_factory=dict)
    """Fields of the project that cause the refusal."""


RESTRICTED = {
    "orgPolicies": [{"constraint": "iam.allowedPolicyMemberDomains", "allowedValues": ["example.com"]}]
}
FULL_OF_GROUPS = {
    "policy": [{"role": "roles/browser", "members": [f"group:g{each}@example.com" for each in range(250)]}]
}
REFUSALS = (
    Refusal("member outside the domain", Grant(PROJECT, INVOKER, "user:eve@elsewhere.test"), RESTRICTED),
    Refusal("member outside, on a secret", Grant(SECRET, ACCESSOR, "user:eve@elsewhere.test"), RESTRICTED),
    Refusal("public under restriction", Grant(SERVICE, INVOKER, "allUsers"), RESTRICTED),
    Refusal("role of another service", Grant(SECRET, INVOKER, "user:bob@example.com")),
    Refusal("role on an account", Grant(ACCOUNT, INVOKER, "user:bob@example.com")),
    Refusal("unknown role", Grant(PROJECT, "roles/none.such", "user:bob@example.com")),
    Refusal(
        "custom role of another project",
        Grant(PROJECT, "projects/tools/roles/deployer", "user:bob@example.com"),
    ),
    Refusal("condition on a job", Grant(JOB, INVOKER, "user:bob@example.com", EXPIRY)),
    Refusal("condition on a basic role", Grant(PROJECT, "roles/viewer", "user:bob@example.com", EXPIRY)),
    Refusal("public on a project", Grant(PROJECT, INVOKER, "allUsers")),
    Refusal("public on a job", Grant(JOB, INVOKER, "allAuthenticatedUsers")),
    Refusal("account that does not exist", Grant(PROJECT, INVOKER, GHOST)),
    Refusal("one group too many", Grant(PROJECT, INVOKER, "group:last@example.com"), FULL_OF_GROUPS),
    Refusal("invalid member", Grant(PROJECT, INVOKER, "nobody")),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name.replace(" ", "-"))
async def test_refused_grant_is_rejected_alone(refusal: Refusal) -> None:
    target = refusal.grant.target
    good = Grant(target, GOOD_ROLES[target], ANN)
    async with open_bench(seed(refusal.project)) as bench:
        found = await bench.sync(good, refusal.grant)

        assert isinstance(found.outcome, Refused)
        assert found.outcome.reason is Reason.REJECTED
        assert str(refusal.grant) in found.outcome.message
        assert found.states == {ANN: GrantState.GRANTED, refusal.grant.member: GrantState.REJECTED}
        assert ANN in bench.members(target, good.role)
        assert bench.ledger(target).entries[refusal.grant].state is GrantState.REJECTED


@pytest.mark.parametrize(
    "grant",
    [
        Grant(PROJECT, "roles/run.viewer", ANN, EXPIRY),
        Grant(SERVICE, INVOKER, ANN, EXPIRY),
        Grant(ACCOUNT, "roles/iam.serviceAccountUser", ANN, EXPIRY),
        Grant(SECRET, ACCESSOR, ANN, EXPIRY),
        Grant(SERVICE, INVOKER, "allUsers"),
        Grant(SECRET, ACCESSOR, MEMBER),
    ],
    ids=str,
)
async def test_accepted_grant_is_granted_and_released(grant: Grant) -> None:
    async with open_bench(seed()) as bench:
        assert (await bench.sync(grant)).states == {grant.member: GrantState.GRANTED}
        assert (await bench.sync()).outcomes == []
        assert bench.members(grant.target, grant.role) == set()
        assert not bench.ledger(grant.target).entries


@pytest.mark.parametrize("member", OF_POOLS)
async def test_member_of_a_pool_is_granted_verbatim_and_released(member: str) -> None:
    grant = Grant(PROJECT, INVOKER, member)
    async with open_bench(seed()) as bench:
        assert (await bench.sync(grant)).states == {member: GrantState.GRANTED}
        assert bench.members(PROJECT, INVOKER) == {member}
        assert not (await bench.sync(grant)).outcomes
        assert not (await bench.sync()).outcomes
        assert bench.members(PROJECT, INVOKER) == set()


async def test_service_agent_is_granted_once_google_has_created_it() -> None:
    good, agent = Grant(PROJECT, INVOKER, ANN), Grant(PROJECT, INVOKER, AGENT)
    async with open_bench(seed({"projectNumber": "123456789012"})) as bench:
        bench.emulator.edit({"serviceAgent": AGENT_EMAIL, "missing": True})
        found = await bench.sync(good, agent)
        assert isinstance(found.outcome, Refused)
        assert found.outcome.message == (
            f"{agent}: Service account {AGENT_EMAIL} does not exist; if the project has not used the service "
            "yet, create its service agent: gcloud beta services identity create "
            "--service=pubsub.googleapis.com --project=123456789012"
        )
        assert found.states == {ANN: GrantState.GRANTED, AGENT: GrantState.REJECTED}

        bench.emulator.edit({"serviceAgent": AGENT_EMAIL, "missing": False})
        assert (await bench.sync(good, agent)).states == {ANN: GrantState.GRANTED, AGENT: GrantState.GRANTED}


async def test_grant_on_a_missing_secret_waits() -> None:
    missing = Grant(Target(TargetKind.SECRET, "shop-1234", name="none"), ACCESSOR, ANN)
    async with open_bench(seed()) as bench:
        found = await bench.sync(missing)
    assert isinstance(found.outcome, Waiting)
    assert found.states == {ANN: GrantState.PENDING}


async def test_grant_to_a_propagating_account_waits() -> None:
    good, fresh = Grant(PROJECT, INVOKER, ANN), Grant(PROJECT, INVOKER, GHOST)
    async with open_bench(seed()) as bench:
        bench.fresh.add(GHOST.partition(":")[2])
        found = await bench.sync(good, fresh)
        assert isinstance(found.outcome, Waiting)
        assert found.outcome.reason is Reason.PROPAGATION_PENDING
        assert found.states == {ANN: GrantState.GRANTED, GHOST: GrantState.PENDING}

        create_account(bench, "ghost-1")
        assert (await bench.sync(good, fresh)).outcomes == []


async def test_full_policy_accepts_the_grants_that_fit() -> None:
    crowd = [f"user:u{number}@example.com" for number in range(1499)]
    grants = [Grant(PROJECT, INVOKER, f"user:new{number}@example.com") for number in range(3)]
    async with open_bench(seed({"policy": [{"role": "roles/viewer", "members": crowd}]})) as bench:
        found = await bench.sync(*grants)

        assert sorted(found.states.values()) == sorted(
            [GrantState.GRANTED, GrantState.REJECTED, GrantState.REJECTED]
        )
        assert all(isinstance(outcome, Refused) for outcome in found.outcomes)
        assert len(bench.members(PROJECT, INVOKER)) == 1


@pytest.mark.parametrize("free", [0, 2])
async def test_exempted_principals_and_repeated_members_fill_a_policy(free: int) -> None:
    members = [f"user:u{number}@example.com" for number in range(600)]
    policy = [{"role": role, "members": members} for role in ("roles/viewer", "roles/browser")]
    grants = [Grant(PROJECT, INVOKER, f"user:new{number}@example.com") for number in range(4)]
    async with open_bench(seed({"policy": policy})) as bench:
        exempt(bench, 300 - free)
        bench.emulator.calls.reset()

        found = await bench.sync(*grants)
        assert sorted(found.states.values()) == sorted(
            [GrantState.GRANTED] * free + [GrantState.REJECTED] * (4 - free)
        )
        assert f"{1500 - free} of at most 1500 principals" in found.outcomes[-1].message
        assert f"{300 - free} of them are exempted from audit logging" in found.outcomes[-1].message
        await bench.sync(*grants)

        assert bench.emulator.calls[SET_PROJECT] == (1 if free else 0), "no write is refused"
        usage = bench.ledger(PROJECT).usage
        assert usage
        assert (usage.principals, usage.exempted) == (1500, 300 - free)


async def test_groups_beyond_the_limit_are_refused_without_a_write() -> None:
    groups = [f"group:g{number}@example.com" for number in range(249)]
    policy = [{"role": role, "members": groups} for role in ("roles/viewer", "roles/browser")]
    fits = [Grant(PROJECT, role, "group:a@example.com") for role in (INVOKER, "roles/run.viewer")]
    late = Grant(PROJECT, INVOKER, "group:z@example.com")
    async with open_bench(seed({"policy": policy})) as bench:
        await bench.sync(*fits, Grant(PROJECT, INVOKER, groups[0]))
        bench.emulator.calls.reset()

        found = await bench.sync(*fits, Grant(PROJECT, INVOKER, groups[0]), late)

        assert found.states[late.member] is GrantState.REJECTED
        assert "250 of at most 250 groups and domains" in found.outcome.message
        assert bench.emulator.calls[SET_PROJECT] == 0
        usage = bench.ledger(PROJECT).usage
        assert usage
        assert usage.groups == 250


@pytest.mark.parametrize("grants", [1, 5])
async def test_policy_with_an_invalid_unmanaged_member_is_unwritable(
    grants: int,
) -> None:
    wanted = [Grant(PROJECT, INVOKER, f"user:u{number}@example.com") for number in range(grants)]
    entry = {"role": "roles/viewer", "member": GHOST}
    async with open_bench(seed()) as bench:
        bench.emulator.edit({"policy": PROJECT.full_name, "add": [entry], "unchecked": True})

        found = await bench.sync(*wanted)

        assert isinstance(found.outcome, Failing)
        assert found.outcome.reason is Reason.POLICY_UNWRITABLE
        assert f"roles/viewer for {GHOST}" in found.outcome.message
        assert set(found.states.values()) == {GrantState.PENDING}
        assert bench.members(PROJECT, "roles/viewer") == {GHOST}, "unmanaged members stay"

        bench.emulator.edit({"policy": PROJECT.full_name, "remove": [entry]})
        assert (await bench.sync(*wanted)).outcomes == []
        assert len(bench.members(PROJECT, INVOKER)) == grants


async def test_exhausted_quota_waits_for_the_retry_delay() -> None:
    limits = {"cloudresourcemanager.googleapis.com": {"writes": 0}}
    async with open_bench(seed(requestsPerMinute=limits)) as bench:
        found = await bench.sync(Grant(PROJECT, INVOKER, ANN))
    assert isinstance(found.outcome, Failing)
    assert found.outcome.reason is Reason.QUOTA_EXCEEDED
    assert found.outcome.after == pytest.approx(60)


class TestRecreatedAccounts:
    """The account of a grant was deleted and created again."""

    @pytest.fixture
    async def stale(self) -> AsyncIterator[Bench]:
        async with open_bench(seed(staleIds=True)) as bench:
            yield bench

    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with open_bench(seed()) as bench:
            yield bench

    async def test_tombstone_is_replaced_by_the_new_account_in_one_write(self, bench: Bench) -> None:
        old, new = await granted_and_recreated(bench)
        bench.emulator.calls.reset()

        assert (await bench.sync(desired_grant(new))).outcomes == []

        assert bench.bound_to(PROJECT, INVOKER) == {MEMBER: new}
        assert bench.emulator.calls[SET_PROJECT] == 1
        assert bench.ledger(PROJECT).entries[desired_grant(new).grant].unique_id == new != old

    async def test_stale_id_under_the_plain_email_is_removed_and_added_again(self, stale: Bench) -> None:
        old, new = await granted_and_recreated(stale)
        assert stale.bound_to(PROJECT, INVOKER) == {MEMBER: old}
        stale.emulator.calls.reset()

        assert (await stale.sync(desired_grant(new))).outcomes == []

        assert stale.bound_to(PROJECT, INVOKER) == {MEMBER: new}
        assert stale.emulator.calls[SET_PROJECT] == 2

    async def test_repaired_grant_is_not_written_again(self, stale: Bench) -> None:
        _, new = await granted_and_recreated(stale)
        await stale.sync(desired_grant(new))
        stale.emulator.calls.reset()

        assert (await stale.sync(desired_grant(new))).outcomes == []

        assert stale.emulator.calls[SET_PROJECT] == 0

    async def test_account_beside_an_unmanaged_tombstone_is_rejected(self) -> None:
        tombstone = f"deleted:{MEMBER}?uid=123456789012345678901"
        policy = [{"role": "roles/viewer", "members": [tombstone]}]
        async with open_bench(seed({"policy": policy}, tombstoneConflict=True)) as bench:
            found = await bench.sync(Grant(PROJECT, INVOKER, ANN), Grant(PROJECT, INVOKER, MEMBER))

            assert isinstance(found.outcome, Refused)
            assert found.states == {ANN: GrantState.GRANTED, MEMBER: GrantState.REJECTED}
            assert bench.members(PROJECT, "roles/viewer") == {tombstone}


def exempt(bench: Bench, number: int) -> None:
    """Exempt principals of the project from audit logging, as another client."""
    members = [f"user:e{each}@example.com" for each in range(number)]
    log = policy_pb2.AuditLogConfig(log_type="DATA_READ", exempted_members=members)
    config = policy_pb2.AuditConfig(service="allServices", audit_log_configs=[log])
    request = iam_policy_pb2.SetIamPolicyRequest(
        resource="projects/shop-1234",
        policy=policy_pb2.Policy(audit_configs=[config]),
        update_mask=field_mask_pb2.FieldMask(paths=["audit_configs"]),
    )
    bench.emulator.cloud.handlers[SET_PROJECT](request)


def desired_grant(unique_id: str) -> DesiredGrant:
    return DesiredGrant(Grant(PROJECT, INVOKER, MEMBER), unique_id=unique_id)


async def granted_and_recreated(bench: Bench) -> tuple[str, str]:
    """Grant to the account, recreate it, and return its old and new unique ids."""
    [old] = (each.unique_id for each in bench.emulator.cloud.accounts if each.email == EMAIL)
    await bench.sync(desired_grant(old))
    bench.emulator.edit({"serviceAccount": ACCOUNT.full_name, "delete": True})
    return old, create_account(bench, "checkout")


def create_account(bench: Bench, account_id: str) -> str:
    """Create an account as another client, and return its unique id."""
    request = iam.CreateServiceAccountRequest(name="projects/shop-1234", account_id=account_id)
    return str(bench.emulator.cloud.handlers[f"{IAM}/CreateServiceAccount"](request).unique_id)
