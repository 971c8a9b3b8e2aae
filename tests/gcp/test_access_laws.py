"""The answers of `who-can` agree with testIamPermissions, called by each principal of random policies."""

import asyncio

from google.iam.v1 import iam_policy_pb2
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cloudrun_identity.gcp.access_limits import AccessLimits
from cloudrun_identity.gcp.access_reader import AccessReader
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.ratelimit import Api
from cloudrun_identity.iam.access import AccessFacts, AccessResult, access_of
from cloudrun_identity.iam.access_questions import ACT_AS
from cloudrun_identity.iam.grants import Target
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import (
    Binding,
    Condition,
    CustomRole,
    DenyPolicy,
    DenyRule,
    Folder,
    Group,
    Organization,
    Project,
    Seed,
    ServiceAccount,
)
from tests.gcp.conftest import Observer

PROJECT = "shop-1234"
ACCOUNTS = [f"{name}@{PROJECT}.iam.gserviceaccount.com" for name in ("website", "runner")]
USERS = ["ann@example.com", "bob@example.com"]
PRINCIPALS = [*(f"user:{each}" for each in USERS), *(f"serviceAccount:{each}" for each in ACCOUNTS)]
MEMBERS = st.sampled_from([*PRINCIPALS, "group:ops@example.com", "domain:example.com"])
ROLES = [
    "roles/iam.serviceAccountUser",
    "roles/iam.serviceAccountTokenCreator",
    "roles/editor",
    "organizations/9/roles/keys",
]
CONDITIONS = st.sampled_from(
    [None, None, None, Condition(title="never", expression="resource.name == 'other'")]
)
DENIED = st.sampled_from(
    [
        "principal://goog/subject/ann@example.com",
        f"principal://iam.googleapis.com/projects/-/serviceAccounts/{ACCOUNTS[1]}",
        "principalSet://goog/group/ops@example.com",
        "principalSet://goog/public:all",
    ]
)
PERMISSIONS = st.sampled_from(
    [
        "iam.googleapis.com/serviceAccounts.actAs",
        "iam.googleapis.com/serviceAccounts.*",
        "iam.googleapis.com/*",
    ]
)


def policies(*roles: str) -> st.SearchStrategy[tuple[Binding, ...]]:
    binding = st.builds(
        Binding,
        role=st.sampled_from(roles),
        members=st.lists(MEMBERS, min_size=1, max_size=2, unique=True).map(tuple),
        condition=CONDITIONS,
    )
    return st.lists(binding, max_size=2, unique_by=lambda each: (each.role, each.condition)).map(tuple)


DENY_RULES = st.builds(
    lambda denied, permission, excepted: DenyRule(
        denied_principals=denied,
        denied_permissions=(permission,),
        exception_principals=tuple(each for each in excepted if "public" not in each),
    ),
    st.lists(DENIED, min_size=1, max_size=2, unique=True).map(tuple),
    PERMISSIONS,
    st.lists(DENIED, max_size=1),
)
DENY_POLICIES = st.lists(DENY_RULES, max_size=1).map(
    lambda rules: tuple(DenyPolicy(policy_id="lock", rules=(rule,)) for rule in rules)
)


@st.composite
def seeds(draw: st.DrawFn) -> Seed:
    """Return an account with a policy on each level, and deny policies on two."""
    keys = CustomRole(role_id="keys", permissions=("iam.serviceAccountKeys.create",))
    return Seed(
        strict=True,
        groups=(Group(email="ops@example.com", members=(PRINCIPALS[0], PRINCIPALS[2])),),
        organizations=(
            Organization(
                organization_id="9",
                roles=(keys,),
                policy=draw(policies(*ROLES[:2], ROLES[3])),
                deny_policies=draw(DENY_POLICIES),
            ),
        ),
        folders=(Folder(folder_id="12", parent="organizations/9", policy=draw(policies(*ROLES[:2]))),),
        projects=(
            Project(
                project_id=PROJECT,
                parent="folders/12",
                service_accounts=(
                    ServiceAccount(account_id="website", policy=draw(policies(*ROLES[:2]))),
                    ServiceAccount(account_id="runner"),
                ),
                policy=draw(policies(*ROLES)),
                deny_policies=draw(DENY_POLICIES),
            ),
        ),
    )


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(seeds())
def test_yes_and_no_agree_with_test_iam_permissions(seed: Seed) -> None:
    asyncio.run(_compare(seed))


async def _compare(seed: Seed) -> None:
    async with Emulator(seed=seed) as emulator:
        clients = GoogleClients(emulator.grpc_address, Observer())
        target = Target.service_account(PROJECT, ACCOUNTS[0])
        facts = await _facts(clients, target)
        assert not facts.unread
        for principal in PRINCIPALS:
            held = await _held_by(clients, principal, target)
            for ability in ACT_AS:
                access = access_of(facts, principal, ability.permission)
                expected = ability.permission in held
                assert access.result in (
                    AccessResult.DEPENDS,
                    AccessResult.YES if expected else AccessResult.NO,
                ), access
        await clients.close()


async def _facts(clients: GoogleClients, target: Target) -> AccessFacts:
    reader = AccessReader(clients, PROJECT, AccessLimits(clients, PROJECT))
    project = await reader.of_project()
    bindings, unread = await reader.of_target(target)
    (facts,) = await reader.with_permissions((project.facts.below(bindings, unread),))
    return facts


async def _held_by(clients: GoogleClients, principal: str, target: Target) -> frozenset[str]:
    """Return the permissions that the principal has, when it calls testIamPermissions."""
    method = f"{target.descriptor.policy_service}/TestIamPermissions"
    request = iam_policy_pb2.TestIamPermissionsRequest(
        resource=target.resource, permissions=[ability.permission for ability in ACT_AS]
    )
    response = iam_policy_pb2.TestIamPermissionsResponse
    reply = await clients.call(
        Api.IAM,
        method,
        clients.stub(Api.IAM, method, response),
        request,
        metadata=(("authorization", f"Bearer {principal}"),),
    )
    return frozenset(reply.permissions)
