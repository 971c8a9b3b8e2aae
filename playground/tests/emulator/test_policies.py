from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam
from google.iam.v1 import policy_pb2
from google.type import expr_pb2

from cloudrun_identity.iam.role_catalog import role_catalog
from cloudrun_identity_playground.emulator import Emulator, Seed
from cloudrun_identity_playground.emulator.apis.grantable_roles import ABOVE_PROJECTS, is_grantable

from .clients import LOCATION, Clients, Clock, members

ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
MEMBER = "serviceAccount:checkout@shop.iam.gserviceaccount.com"
NIGHTLY = expr_pb2.Expr(title="nightly", expression="request.time.getHours() < 6")


def policy_of(role: str, *who: str) -> policy_pb2.Policy:
    return policy_pb2.Policy(version=3, bindings=[policy_pb2.Binding(role=role, members=who)])


class TestEtags:
    async def test_a_stale_etag_aborts(self, clients: Clients) -> None:
        stale = await clients.policy()
        await clients.grant("roles/viewer", "user:ann@example.com")
        fresh = await clients.grant("roles/viewer", "user:bob@example.com")

        stale.etag = b"\x07older"
        with pytest.raises(exceptions.Aborted) as error:
            await clients.set_policy(stale)
        assert error.value.code == 409
        assert (await clients.policy()) == fresh

    async def test_write_of_equal_content_changes_the_etag(self, clients: Clients) -> None:
        first = await clients.grant("roles/viewer", "user:ann@example.com")
        second = await clients.set_policy(first)

        assert second.etag != first.etag
        assert second.bindings == first.bindings

    async def test_write_without_etag_overwrites(self, clients: Clients) -> None:
        await clients.grant("roles/viewer", "user:ann@example.com")
        written = await clients.set_policy(policy_of("roles/viewer", "user:bob@example.com"))

        assert members(written, "roles/viewer") == ["user:bob@example.com"]

    async def test_set_returns_what_get_returns(self, clients: Clients) -> None:
        assert await clients.grant("roles/viewer", "user:ann@example.com") == await clients.policy()

    async def test_unwritten_policy_has_and_accepts_the_first_etag(self, clients: Clients) -> None:
        await clients.create_account()
        policy = await clients.policy(ACCOUNT)
        assert policy.etag == b"\x00\x20\x01"
        policy.bindings.add(role="roles/iam.serviceAccountUser", members=["user:ann@example.com"])
        assert len((await clients.set_policy(policy, ACCOUNT)).bindings) == 1


class TestMask:
    async def test_audit_configs_are_kept_unless_in_the_mask(self, clients: Clients) -> None:
        audited = policy_of("roles/viewer", "user:ann@example.com")
        audited.audit_configs.add(service="run.googleapis.com")
        await clients.set_policy(audited, mask=("bindings", "etag", "audit_configs"))

        kept = await clients.set_policy(policy_of("roles/viewer", "user:bob@example.com"))
        assert [each.service for each in kept.audit_configs] == ["run.googleapis.com"]
        assert members(kept, "roles/viewer") == ["user:bob@example.com"]

        dropped = await clients.set_policy(policy_pb2.Policy(), mask=("audit_configs",))
        assert not dropped.audit_configs
        assert members(dropped, "roles/viewer") == ["user:bob@example.com"]

    async def test_unknown_mask_path_of_a_policy_is_refused(self, clients: Clients) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="nonsense"):
            await clients.set_policy(policy_pb2.Policy(), mask=("nonsense",))


class TestBindings:
    async def test_member_order_is_kept_as_sent(self, clients: Clients) -> None:
        who = ["user:zoe@example.com", "group:ops@example.com", "user:ann@example.com"]

        assert members(await clients.grant("roles/viewer", *who), "roles/viewer") == who

    async def test_equal_bindings_are_merged_and_empty_ones_dropped(self, clients: Clients) -> None:
        policy = policy_of("roles/viewer", "user:ann@example.com")
        policy.bindings.add(role="roles/browser", members=[])
        policy.bindings.add(role="roles/viewer", members=["user:bob@example.com", "user:ann@example.com"])
        written = await clients.set_policy(policy)

        assert [(each.role, list(each.members)) for each in written.bindings] == [
            ("roles/viewer", ["user:ann@example.com", "user:bob@example.com"])
        ]

    @pytest.mark.parametrize(
        "member",
        [
            "domain:example.com",
            "serviceAccount:shop.svc.id.goog[payments/checkout]",
            "serviceAccount:shop.hub.id.goog[payments/checkout]",
            "group:shop.svc.id.goog:/allAuthenticatedUsers/",
            "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/Ann Example",
            "principalSet://iam.googleapis.com/locations/global/workforcePools/staff/group/A  B",
            "serviceAccount:service-42@serverless-robot-prod.iam.gserviceaccount.com",
            "principal://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p/subject/s",
            "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p/*",
            "projectOwner:shop",
            "deleted:user:ann@example.com?uid=42",
            "deleted:serviceAccount:gone@elsewhere.iam.gserviceaccount.com?uid=42",
        ],
    )
    async def test_documented_member_forms_are_returned_verbatim(self, clients: Clients, member: str) -> None:
        assert members(await clients.grant("roles/browser", member), "roles/browser") == [member]

    @pytest.mark.parametrize(
        "member",
        [
            "ann@example.com",
            "user:ann",
            "robot:x@example.com",
            "user:",
            "*",
            "group:shop.svc.id.goog:/allauthenticatedusers/",
            "group:shop.svc.id.goog",
            "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/ann ",
        ],
    )
    async def test_other_forms_are_refused(self, clients: Clients, member: str) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            await clients.grant("roles/viewer", member)

    async def test_one_bad_member_fails_the_whole_write(self, clients: Clients) -> None:
        await clients.projects.get_project(name="projects/shop")
        with pytest.raises(
            exceptions.InvalidArgument,
            match=r"Service account checkout@shop\.iam\.gserviceaccount\.com does not exist\.",
        ):
            await clients.grant("roles/viewer", "user:ann@example.com", MEMBER)
        assert not (await clients.policy()).bindings


class TestLimits:
    async def test_1500_principals_are_accepted_and_one_more_is_not(self, clients: Clients) -> None:
        who = [f"user:u{number}@example.com" for number in range(750)]
        policy = policy_of("roles/viewer", *who)
        policy.bindings.add(role="roles/browser", members=who)  # each occurrence counts
        written = await clients.set_policy(policy)

        written.bindings[0].members.append("user:one-more@example.com")
        with pytest.raises(
            exceptions.InvalidArgument, match=r"\(1,501\) is larger than the maximum allowed size 1,500"
        ):
            await clients.set_policy(written)

    async def test_exemptions_from_audit_logging_count_as_principals(self, clients: Clients) -> None:
        exempted = [f"user:e{number}@example.com" for number in range(2)]
        log = policy_pb2.AuditLogConfig(log_type="DATA_READ", exempted_members=exempted)
        policy = policy_of("roles/viewer", *[f"user:u{number}@example.com" for number in range(1498)])
        policy.audit_configs.add(service="allServices", audit_log_configs=[log])
        written = await clients.set_policy(policy, mask=("bindings", "etag", "audit_configs"))

        written.bindings[0].members.append("user:one-more@example.com")
        with pytest.raises(exceptions.InvalidArgument, match="1,501"):
            await clients.set_policy(written)
        log.exempted_members.append("user:e2@example.com")
        policy.audit_configs[0].audit_log_configs[0].CopyFrom(log)
        with pytest.raises(exceptions.InvalidArgument, match="1,501"):
            await clients.set_policy(policy, mask=("audit_configs",))

    async def test_group_counts_once_and_a_domain_once_for_each_role(self, clients: Clients) -> None:
        groups = [f"group:g{number}@example.com" for number in range(248)]
        policy = policy_of("roles/viewer", *groups, "domain:example.com")
        policy.bindings.add(role="roles/browser", members=[*groups, "domain:example.com"])
        written = await clients.set_policy(policy)

        written.bindings.add(role="roles/editor", members=["domain:example.com"])
        with pytest.raises(exceptions.InvalidArgument, match="251"):
            await clients.set_policy(written)

    async def test_250_groups_are_accepted_and_one_more_is_not(self, clients: Clients) -> None:
        groups = [f"group:g{number}@example.com" for number in range(250)]
        await clients.set_policy(policy_of("roles/viewer", *groups))

        with pytest.raises(exceptions.InvalidArgument, match="250"):
            await clients.set_policy(policy_of("roles/viewer", *groups, "group:one-more@example.com"))


class TestTombstones:
    async def test_deletion_of_an_account_changes_its_member_but_no_etag(self, clients: Clients) -> None:
        account = await clients.create_account()
        before = await clients.grant("roles/viewer", "user:ann@example.com", MEMBER, "user:bob@example.com")
        await clients.iam.delete_service_account(name=ACCOUNT)
        after = await clients.policy()

        assert after.etag == before.etag
        assert members(after, "roles/viewer") == [
            "user:ann@example.com",
            f"deleted:{MEMBER}?uid={account.unique_id}",
            "user:bob@example.com",
        ]

    async def test_a_policy_with_tombstones_is_accepted(self, clients: Clients) -> None:
        await clients.create_account()
        await clients.grant("roles/viewer", MEMBER)
        await clients.iam.delete_service_account(name=ACCOUNT)
        read = await clients.policy()

        assert (await clients.set_policy(read)).bindings == read.bindings

    async def test_an_undeleted_account_is_a_live_member_again(self, clients: Clients) -> None:
        account = await clients.create_account()
        before = await clients.grant("roles/viewer", MEMBER)
        await clients.iam.delete_service_account(name=ACCOUNT)
        await clients.set_policy(await clients.policy())
        await clients.iam.undelete_service_account(
            iam.UndeleteServiceAccountRequest(name=f"projects/shop/serviceAccounts/{account.unique_id}")
        )

        assert (await clients.policy()).bindings == before.bindings

    async def test_removed_tombstone_stays_removed_after_undelete(self, clients: Clients) -> None:
        account = await clients.create_account()
        await clients.grant("roles/viewer", MEMBER)
        await clients.iam.delete_service_account(name=ACCOUNT)
        cleaned = await clients.policy()
        del cleaned.bindings[:]
        await clients.set_policy(cleaned)
        await clients.iam.undelete_service_account(
            iam.UndeleteServiceAccountRequest(name=f"projects/shop/serviceAccounts/{account.unique_id}")
        )

        assert not (await clients.policy()).bindings

    async def test_recreated_account_inherits_no_grant_of_its_tombstone(self, clients: Clients) -> None:
        account = await clients.create_account()
        await clients.grant("roles/viewer", MEMBER)
        await clients.iam.delete_service_account(name=ACCOUNT)
        await clients.create_account()
        tombstone = f"deleted:{MEMBER}?uid={account.unique_id}"
        assert members(await clients.policy(), "roles/viewer") == [tombstone]

        assert members(await clients.grant("roles/viewer", MEMBER), "roles/viewer") == [tombstone, MEMBER]

    async def test_switch_refuses_live_member_beside_tombstone(self, clock: Clock) -> None:
        import grpc.aio

        async with (
            Emulator(seed=Seed(tombstone_conflict=True), clock=clock) as emulator,
            grpc.aio.insecure_channel(emulator.grpc_address) as channel,
        ):
            clients = Clients(channel)
            await clients.create_account()
            await clients.grant("roles/viewer", MEMBER)
            await clients.iam.delete_service_account(name=ACCOUNT)
            await clients.create_account()

            with pytest.raises(exceptions.InvalidArgument):
                await clients.grant("roles/viewer", MEMBER)
            with pytest.raises(exceptions.InvalidArgument):
                await clients.grant("roles/browser", MEMBER)


class TestConditions:
    async def test_conditional_binding_is_returned_in_version_3(self, clients: Clients) -> None:
        written = await clients.grant("roles/viewer", "user:ann@example.com") and await clients.grant(
            "roles/run.viewer", "user:ann@example.com", condition=NIGHTLY
        )

        assert written.version == 3
        assert [each.condition.title for each in written.bindings] == ["", "nightly"]

    async def test_policy_without_conditions_has_version_1(self, clients: Clients) -> None:
        await clients.grant("roles/viewer", "user:ann@example.com")
        assert (await clients.policy(version=3)).version == 1

    async def test_read_in_version_1_hides_conditional_role_names(self, clients: Clients) -> None:
        await clients.grant("roles/run.viewer", "user:ann@example.com", condition=NIGHTLY)
        older = await clients.policy(version=1)

        assert older.version == 1
        assert older.bindings[0].role.startswith("roles/run.viewer_withcond_")
        assert not older.bindings[0].HasField("condition")

    async def test_policy_read_in_version_1_cannot_be_written_back(self, clients: Clients) -> None:
        await clients.grant("roles/run.viewer", "user:ann@example.com", condition=NIGHTLY)
        with pytest.raises(exceptions.InvalidArgument):
            await clients.set_policy(await clients.policy(version=1))

    async def test_version_1_write_without_etag_loses_conditions(self, clients: Clients) -> None:
        await clients.grant("roles/run.viewer", "user:ann@example.com", condition=NIGHTLY)
        policy = policy_of("roles/run.viewer", "user:ann@example.com")
        policy.version = 1

        written = await clients.set_policy(policy)
        assert [each.HasField("condition") for each in written.bindings] == [False]

    async def test_conditions_need_version_3(self, clients: Clients) -> None:
        policy = policy_of("roles/run.viewer", "user:ann@example.com")
        policy.bindings[0].condition.CopyFrom(NIGHTLY)
        policy.version = 1
        with pytest.raises(exceptions.InvalidArgument, match="version"):
            await clients.set_policy(policy)

    async def test_one_role_with_two_conditions_is_two_bindings(self, clients: Clients) -> None:
        await clients.grant("roles/run.viewer", "user:ann@example.com", condition=NIGHTLY)
        other = expr_pb2.Expr(title="other", expression="true")
        written = await clients.grant("roles/run.viewer", "user:ann@example.com", condition=other)
        assert len(written.bindings) == 2

    async def test_grant_has_at_most_20_conditions(self, clients: Clients) -> None:
        policy = policy_pb2.Policy(version=3)

        def add(title: str) -> None:
            policy.bindings.add(
                role="roles/run.viewer",
                members=["user:ann@example.com"],
                condition=expr_pb2.Expr(title=title, expression="true"),
            )

        for number in range(20):
            add(f"c{number}")
        policy.bindings.add(role="roles/run.viewer", members=["user:ann@example.com"])
        await clients.set_policy(policy)
        add("c20")
        with pytest.raises(exceptions.InvalidArgument, match="20"):
            await clients.set_policy(policy)

    async def test_basic_role_with_condition_is_refused(self, clients: Clients) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="roles/viewer"):
            await clients.grant("roles/viewer", "user:ann@example.com", condition=NIGHTLY)

    async def test_only_services_of_cloud_run_accept_conditions(self, clients: Clients) -> None:
        await clients.create_service("web")
        await clients.create_job("nightly")
        await clients.create_worker_pool("queue")

        async def grant(resource: str) -> policy_pb2.Policy:
            return await clients.grant(
                "roles/run.invoker", "user:ann@example.com", resource=resource, condition=NIGHTLY
            )

        assert (await grant(f"{LOCATION}/services/web")).version == 3
        for refused in ("jobs/nightly", "workerPools/queue"):
            with pytest.raises(exceptions.InvalidArgument, match="Conditions are not supported"):
                await grant(f"{LOCATION}/{refused}")


class TestPublicMembers:
    @pytest.mark.parametrize("member", ["allUsers", "allAuthenticatedUsers"])
    async def test_public_members_take_no_condition(self, clients: Clients, member: str) -> None:
        await clients.create_service("web")
        with pytest.raises(exceptions.InvalidArgument, match=f"Conditions cannot be set for {member}"):
            await clients.grant(
                "roles/run.invoker", member, resource=f"{LOCATION}/services/web", condition=NIGHTLY
            )

    async def test_service_accepts_public_members(self, clients: Clients) -> None:
        await clients.create_service("web")
        policy = await clients.grant("roles/run.invoker", "allUsers", resource=f"{LOCATION}/services/web")
        assert members(policy, "roles/run.invoker") == ["allUsers"]

    async def test_other_resources_refuse_public_members(self, clients: Clients) -> None:
        await clients.create_job("nightly")
        await clients.create_worker_pool("queue")
        for resource in ("projects/shop", f"{LOCATION}/jobs/nightly", f"{LOCATION}/workerPools/queue"):
            for member in ("allUsers", "allAuthenticatedUsers"):
                with pytest.raises(exceptions.InvalidArgument, match=member):
                    await clients.grant("roles/run.invoker", member, resource=resource)


class TestRoles:
    @pytest.mark.parametrize("role", ["roles/run.nonsense", "nonsense", "projects/shop/roles/missing"])
    async def test_an_unknown_role_is_refused(self, clients: Clients, role: str) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            await clients.grant(role, "user:ann@example.com")

    async def test_unlisted_service_agent_role_is_accepted_on_projects(self, clients: Clients) -> None:
        await clients.create_account()
        policy = await clients.grant("roles/newservice.serviceAgent", "user:ann@example.com")
        assert [each.role for each in policy.bindings] == ["roles/newservice.serviceAgent"]
        with pytest.raises(exceptions.InvalidArgument):
            await clients.grant("roles/newservice.serviceAgent", "user:ann@example.com", resource=ACCOUNT)

    async def test_every_role_of_the_catalog_is_accepted_on_projects_or_above(self) -> None:
        catalog = role_catalog()
        roles = sorted(catalog)
        on_projects = [role for role in roles if is_grantable(role, catalog[role], "", on_project=True)]
        above = [role for role in roles if is_grantable(role, catalog[role], "", on_project=False)]

        assert above == roles
        assert sorted(set(above) - set(on_projects)) == sorted(ABOVE_PROJECTS)

    async def test_project_with_any_predefined_roles_takes_further_grants(self, clients: Clients) -> None:
        present = ("roles/dataproc.worker", "roles/bigquery.admin", "roles/spanner.databaseUser")
        for role in present:
            await clients.grant(role, "user:ann@example.com")

        policy = await clients.grant("roles/run.viewer", "user:ann@example.com")

        assert {binding.role for binding in policy.bindings} == {*present, "roles/run.viewer"}

    @pytest.mark.parametrize(
        "role", ["roles/billing.user", "roles/orgpolicy.policyAdmin", "roles/resourcemanager.folderAdmin"]
    )
    async def test_role_of_organizations_is_refused_on_projects(self, clients: Clients, role: str) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="is not supported for this resource"):
            await clients.grant(role, "user:ann@example.com")

    @pytest.mark.parametrize("role", ["roles/secretmanager.secretAccessor", "roles/storage.admin"])
    async def test_role_of_other_resources_is_refused_on_accounts(self, clients: Clients, role: str) -> None:
        await clients.create_account()
        with pytest.raises(exceptions.InvalidArgument, match=f"{role} is not supported for this resource"):
            await clients.grant(role, "user:ann@example.com", resource=ACCOUNT)

    async def test_role_must_apply_to_the_resource(self, clients: Clients) -> None:
        await clients.create_account()
        await clients.create_service("web")
        with pytest.raises(exceptions.InvalidArgument, match=r"roles/run\.invoker is not supported"):
            await clients.grant("roles/run.invoker", "user:ann@example.com", resource=ACCOUNT)
        with pytest.raises(exceptions.InvalidArgument, match=r"roles/cloudsql\.client is not supported"):
            await clients.grant(
                "roles/cloudsql.client", "user:ann@example.com", resource=f"{LOCATION}/services/web"
            )

    async def test_custom_role_is_granted_only_in_its_project(self, clients: Clients) -> None:
        role = await clients.iam.create_role(
            iam.CreateRoleRequest(parent="projects/shop", role_id="deployer", role=iam.Role(title="Deployer"))
        )
        assert len((await clients.grant(role.name, "user:ann@example.com")).bindings) == 1
        with pytest.raises(exceptions.InvalidArgument):
            await clients.grant(role.name, "user:ann@example.com", resource="projects/other")
