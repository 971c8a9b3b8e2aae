"""Folders and organizations, and the organization policies that projects inherit from them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud import orgpolicy_v2 as orgpolicy
from google.cloud import resourcemanager_v3 as resourcemanager

from cloudrun_identity_playground.emulator import Emulator, Seed, SeedError

from .clients import Clients, Clock, members

ORGANIZATION, PROD, PAYMENTS = "organizations/1", "folders/10", "folders/11"
CREATION = "iam.disableServiceAccountKeyCreation"
CROSS_PROJECT = "iam.disableCrossProjectServiceAccountUsage"
MEMBERS = "iam.allowedPolicyMemberDomains"
PLANTED: dict[str, Any] = {
    "strict": True,
    "organizations": [
        {
            "organizationID": "1",
            "displayName": "example.com",
            "policy": [{"role": "roles/viewer", "members": ["user:ann@example.com"]}],
            "orgPolicies": [{"constraint": CREATION, "enforce": True}],
        }
    ],
    "folders": [
        {"folderID": "10", "displayName": "Prod", "parent": ORGANIZATION},
        {"folderID": "11", "displayName": "Payments", "parent": PROD},
    ],
    "projects": [{"projectID": "shop", "parent": PAYMENTS}, {"projectID": "alone"}],
}


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(seed=Seed.model_validate(PLANTED), clock=clock, rest_port=0) as running:
        yield running


def boolean(holder: str, constraint: str, **spec: Any) -> orgpolicy.Policy:
    return orgpolicy.Policy(name=f"{holder}/policies/{constraint}", spec=orgpolicy.PolicySpec(**spec))


def enforced(policy: orgpolicy.Policy) -> bool:
    return any(rule.enforce for rule in policy.spec.rules)


async def effective(clients: Clients, constraint: str, holder: str = "projects/shop") -> orgpolicy.Policy:
    return await clients.org_policy.get_effective_policy(name=f"{holder}/policies/{constraint}")


async def test_folders_are_shown_listed_by_parent_and_searched(clients: Clients) -> None:
    shown = await clients.folders.get_folder(name=PAYMENTS)
    assert (shown.name, shown.parent, shown.display_name) == (PAYMENTS, PROD, "Payments")
    assert shown.state is resourcemanager.Folder.State.ACTIVE

    listed = [each.name async for each in await clients.folders.list_folders(parent=ORGANIZATION)]
    found = [each.name async for each in await clients.folders.search_folders(query="displayName=Pay*")]
    assert (listed, found) == ([PROD], [PAYMENTS])

    for query, names in (
        ('parent=folders/1 AND displayName="Pay ments"', []),
        ('state=ACTIVE AND displayName="Payments"', [PAYMENTS]),
    ):
        pages = await clients.folders.search_folders(query=query)
        assert [each.name async for each in pages] == names


async def test_organizations_are_shown_and_searched_by_domain(clients: Clients) -> None:
    shown = await clients.organizations.get_organization(name=ORGANIZATION)
    assert (shown.name, shown.display_name) == (ORGANIZATION, "example.com")
    for query, names in (
        ("domain:example.com", [ORGANIZATION]),
        ("domain:example.org", []),
        ("", [ORGANIZATION]),
    ):
        pages = await clients.organizations.search_organizations(query=query)
        assert [each.name async for each in pages] == names


@pytest.mark.parametrize("resource", [ORGANIZATION, PROD, PAYMENTS])
async def test_grants_above_a_project_are_inherited(
    emulator: Emulator, clients: Clients, resource: str
) -> None:
    bob = [("authorization", "Bearer user:bob@example.com")]
    with pytest.raises(exceptions.PermissionDenied):
        await clients.projects.get_project(name="projects/shop", metadata=bob)
    await clients.grant("roles/browser", "user:bob@example.com", resource=resource)
    assert (await clients.projects.get_project(name="projects/shop", metadata=bob)).project_id == "shop"
    with pytest.raises(exceptions.PermissionDenied):
        await clients.projects.get_project(name="projects/alone", metadata=bob)


async def test_projects_are_listed_by_parent(clients: Clients) -> None:
    listed = await clients.projects.list_projects(parent=PAYMENTS)
    assert [each.project_id async for each in listed] == ["shop"]


@pytest.mark.parametrize("resource", [ORGANIZATION, PROD])
async def test_a_container_has_a_policy(clients: Clients, resource: str) -> None:
    written = await clients.grant("roles/run.admin", "user:bob@example.com", resource=resource)
    assert members(written, "roles/run.admin") == ["user:bob@example.com"]
    assert (await clients.policy(resource)).etag == written.etag


async def test_organization_has_its_seeded_policy(clients: Clients) -> None:
    assert members(await clients.policy(ORGANIZATION), "roles/viewer") == ["user:ann@example.com"]


@pytest.mark.parametrize("name", ["folders/99", "organizations/99"])
async def test_unseeded_containers_are_forbidden(clients: Clients, name: str) -> None:
    with pytest.raises(exceptions.PermissionDenied):
        await clients.policy(name)


async def test_fact_an_org_policy_is_inherited_from_folder_and_organization(clients: Clients) -> None:
    with pytest.raises(exceptions.NotFound):
        await clients.org_policy.get_policy(name=f"projects/shop/policies/{CREATION}")
    assert enforced(await effective(clients, CREATION))
    assert not enforced(await effective(clients, CREATION, "projects/alone"))

    off = boolean(PROD, CREATION, rules=[{"enforce": False}])
    await clients.org_policy.create_policy(parent=PROD, policy=off)
    assert not enforced(await effective(clients, CREATION))
    assert enforced(await effective(clients, CREATION, ORGANIZATION))


async def test_a_reset_returns_to_googles_default(clients: Clients) -> None:
    for constraint, default in ((CREATION, False), (CROSS_PROJECT, True)):
        await clients.org_policy.create_policy(
            parent="projects/shop", policy=boolean("projects/shop", constraint, reset=True)
        )
        assert enforced(await effective(clients, constraint)) is default


async def test_a_list_that_inherits_adds_to_what_is_above(clients: Clients) -> None:
    for holder, domain in ((PROD, "example.com"), ("projects/shop", "example.org")):
        policy = boolean(
            holder,
            MEMBERS,
            rules=[{"values": {"allowed_values": [domain]}}],
            inherit_from_parent=holder != PROD,
        )
        await clients.org_policy.create_policy(parent=holder, policy=policy)

    rules = (await effective(clients, MEMBERS)).spec.rules
    assert [list(rule.values.allowed_values) for rule in rules] == [["example.org"], ["example.com"]]
    for domain in ("com", "org"):
        await clients.grant("roles/viewer", f"user:ann@example.{domain}")
    with pytest.raises(exceptions.FailedPrecondition):
        await clients.grant("roles/viewer", "user:ann@example.net")
    with pytest.raises(exceptions.FailedPrecondition):
        await clients.grant("roles/viewer", "user:ann@example.org", resource=PAYMENTS)


async def test_conditional_and_dry_run_rules_enforce_nothing(clients: Clients) -> None:
    await clients.create_account()
    conditional = {"enforce": True, "condition": {"expression": "resource.matchTag('1/env', 'prod')"}}
    policy = boolean("projects/shop", CREATION, rules=[conditional, {"enforce": False}])
    policy.dry_run_spec = orgpolicy.PolicySpec(rules=[{"enforce": True}])
    await clients.org_policy.create_policy(parent="projects/shop", policy=policy)
    await clients.iam.create_service_account_key(
        name="projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
    )


async def test_custom_constraints_are_stored(clients: Clients) -> None:
    name = f"{ORGANIZATION}/customConstraints/custom.noRoot"
    for _ in range(2):
        defined = await clients.org_policy.create_custom_constraint(
            parent=ORGANIZATION, custom_constraint=orgpolicy.CustomConstraint(name=name, condition="true")
        )
        changed = await clients.org_policy.update_custom_constraint(
            custom_constraint=orgpolicy.CustomConstraint(name=name, condition="false")
        )
        listed = [
            each async for each in await clients.org_policy.list_custom_constraints(parent=ORGANIZATION)
        ]
        assert (defined.condition, changed.condition, listed) == ("true", "false", [changed])
        await clients.org_policy.delete_custom_constraint(name=name)
        with pytest.raises(exceptions.NotFound):
            await clients.org_policy.get_custom_constraint(name=name)


@pytest.mark.parametrize(
    ("verb", "path", "expected"),
    [
        (
            "GET",
            "/v1/projects?filter=lifecycleState:ACTIVE AND parent.id:11",
            {
                "projects": [
                    {
                        "projectId": "shop",
                        "name": "shop",
                        "lifecycleState": "ACTIVE",
                        "parent": {"type": "folder", "id": "11"},
                    }
                ]
            },
        ),
        ("GET", "/v1/organizations/1", {"name": ORGANIZATION, "lifecycleState": "ACTIVE"}),
        ("POST", "/v1/organizations:search", {"organizations": [{"displayName": "example.com"}]}),
        ("POST", "/v1/organizations/1:getIamPolicy", {"bindings": [{"role": "roles/viewer"}]}),
        (
            "GET",
            "/v2/folders?parent=organizations/1",
            {"folders": [{"name": PROD, "lifecycleState": "ACTIVE"}]},
        ),
        ("POST", "/v2/folders/10:getIamPolicy", {"etag": "ACAB"}),
        ("GET", "/v3/folders/10", {"name": PROD, "state": "ACTIVE"}),
    ],
)
async def test_older_versions_are_served_over_rest(
    emulator: Emulator, verb: str, path: str, expected: dict[str, Any]
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.request(verb, emulator.rest_url + path) as response,
    ):
        assert within(expected, await response.json())


def within(expected: Any, shown: Any) -> bool:
    """Return whether `shown` has everything expected; its objects may have more."""
    match expected:
        case dict():
            return all(name in shown and within(value, shown[name]) for name, value in expected.items())
        case list():
            return len(expected) == len(shown) and all(map(within, expected, shown))
    return bool(expected == shown)


async def test_the_policy_of_a_folder_can_be_edited(emulator: Emulator, clients: Clients) -> None:
    emulator.edit(
        {
            "policy": f"//cloudresourcemanager.googleapis.com/{PROD}",
            "add": [{"role": "roles/viewer", "member": "user:eve@example.com"}],
        }
    )
    assert members(await clients.policy(PROD), "roles/viewer") == ["user:eve@example.com"]


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        ([{"folderID": "1"}, {"folderID": "1"}], "folders/1: appears twice"),
        (
            [{"folderID": "1", "parent": "folders/2"}, {"folderID": "2", "parent": "folders/1"}],
            "folders/2: lies in itself",
        ),
    ],
)
def test_invalid_folder_trees_are_refused(folders: list[dict[str, str]], named: str) -> None:
    with pytest.raises(SeedError, match=named) as error:
        Emulator(seed=Seed.model_validate({"folders": folders}))
    assert error.value.place == ("folders", 1)


class TestLenient:
    """Without a seed, every number has a folder, as every id has a project."""

    @pytest.fixture
    async def emulator(self) -> AsyncIterator[Emulator]:
        async with Emulator() as running:
            yield running

    async def test_first_write_creates_a_folder_and_a_read_does_not(self, clients: Clients) -> None:
        async def found() -> list[str]:
            return [each.name async for each in await clients.folders.search_folders()]

        assert (await clients.folders.get_folder(name=PROD)).name == PROD
        assert not (await clients.policy(PROD)).bindings
        assert await found() == []

        await clients.grant("roles/viewer", "user:ann@example.com", resource=PROD)
        assert await found() == [PROD]
