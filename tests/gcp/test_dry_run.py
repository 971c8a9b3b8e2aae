"""Test plans of manifests. They are computed with reads of the emulator only."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import yaml

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.collection import SINGLE_READS
from cloudrun_identity.iam.role_catalog import role_catalog
from cloudrun_identity.plan.dry_run import dry_run
from cloudrun_identity.plan.model import DryRun
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed import (
    Binding,
    CustomRole,
    PredefinedRole,
    Project,
    Seed,
    ServiceAccount,
    Workload,
)
from tests.gcp.conftest import Observer

WEB = "webshop@shop-1234.iam.gserviceaccount.com"
NEW = "billing@shop-1234.iam.gserviceaccount.com"
LIST_ACCOUNTS = "google.iam.admin.v1.IAM/ListServiceAccounts"
GET_ACCOUNT = "google.iam.admin.v1.IAM/GetServiceAccount"
SEED = Seed(
    strict=True,
    projects=(
        Project(
            project_id="shop-1234",
            project_number="123456789012",
            service_accounts=(
                ServiceAccount(account_id="webshop", display_name="Web", disabled=True),
                ServiceAccount(account_id="orders"),
            ),
            services=(
                Workload(location="europe-west1", name="web"),
                Workload(location="europe-west1", name="cf", labels={"goog-managed-by": "cloudfunctions"}),
            ),
            roles=(
                CustomRole(role_id="runner", title="Runner", permissions=("run.jobs.run", "run.jobs.get")),
            ),
            policy=(
                Binding(role="roles/run.viewer", members=("group:ops@example.com", "user:ann@example.com")),
            ),
        ),
    ),
)
PROJECT = """
kind: ManagedProject
metadata: {name: shop}
spec:
  projectID: shop-1234
  namespaces: {names: [payments]}
  guardrails:
    grants:
    - roles: [roles/run.viewer, roles/run.developer]
      targetKinds: [Project]
      members: ["*"]
      exclusive: true
    - {roles: ["projects/shop-1234/roles/*"], targetKinds: [Project], members: [identities]}
    adoptableAccounts:
    - {email: webshop@shop-1234.iam.gserviceaccount.com}
    - {email: orders@shop-1234.iam.gserviceaccount.com}
    adoptableRoles: [{roleID: runner}]
    customRoles: {permissions: ["run.*"]}
    keys: Allowed
"""


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as emulator:
        yield emulator


async def planned(emulator: Emulator, manifests: str, project: str = PROJECT) -> DryRun:
    """Return the plan for these manifests and a project; required fields are completed."""
    observer = Observer()
    clients = GoogleClients(emulator.grpc_address, observer, read_only=True)
    try:
        return await dry_run(
            clients, [_completed(obj) for obj in yaml.safe_load_all(f"{project}---\n{manifests}")]
        )
    finally:
        await clients.close()
        verbs = {method.rpartition("/")[2] for method, _ in observer.calls}
        assert not [verb for verb in verbs if not verb.startswith(("Get", "List", "Test", "Query"))]


def steps(plan: DryRun) -> dict[str, list[str]]:
    """Return the steps by resource, as they are printed."""
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        found.setdefault(step.resource, []).append(f"{step.sign} {step.text}")
    return found


def blockers(plan: DryRun) -> dict[str, str]:
    return {f"{each.object.kind}/{each.object.name}": each.reason for each in plan.blockers}


def _completed(obj: dict[str, Any]) -> dict[str, Any]:
    if obj["kind"] != "ManagedProject":
        obj["metadata"].setdefault("namespace", "payments")
        obj["spec"].setdefault("projectRef", {"name": "shop"})
    return {"apiVersion": "cloudrun-identity.dev/v1alpha1", **obj}


async def test_dry_run_adds_no_line_to_the_mutation_log(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "cloudrun_identity.mutations"):
        plan = await planned(
            emulator,
            """
kind: IAMBinding
metadata: {name: viewers}
spec: {target: {kind: Project}, role: roles/run.viewer, members: [{principal: "user:bob@example.com"}]}
""",
        )
    assert steps(plan) == {"IAM policy of Project shop-1234": ["+ roles/run.viewer for user:bob@example.com"]}
    assert caplog.messages == []


async def test_planned_objects_satisfy_references_to_them(emulator: Emulator) -> None:
    plan = await planned(
        emulator,
        """
kind: CustomRole
metadata: {name: flows}
spec: {roleID: flows, permissions: [run.jobs.run]}
---
kind: CloudRunIdentity
metadata: {name: billing}
spec:
  roles: [{role: roles/run.viewer}, {customRoleRef: {name: flows}}]
  users: [{principal: "group:ops@example.com"}]
---
kind: IdentityAttachment
metadata: {name: web}
spec: {workload: {kind: Service, location: europe-west1, name: web}, identityRef: {name: billing}}
---
kind: IAMBinding
metadata: {name: callers}
spec:
  target: {kind: Service, location: europe-west1, name: web}
  role: roles/run.invoker
  members: [{identityRef: {name: billing}}]
""",
    )

    assert steps(plan) == {
        "CustomRole projects/shop-1234/roles/flows": ["+ role: absent → created"],
        f"ServiceAccount {NEW}": ["+ account: absent → created"],
        "Service europe-west1/web of project shop-1234": [
            f"~ service account: 123456789012-compute@developer.gserviceaccount.com → {NEW}"
        ],
        "IAM policy of Project shop-1234": [
            f"+ projects/shop-1234/roles/flows for serviceAccount:{NEW}",
            f"+ roles/run.viewer for serviceAccount:{NEW}",
        ],
        "IAM policy of Service europe-west1/web of project shop-1234": [
            f"+ roles/run.invoker for serviceAccount:{NEW}"
        ],
        f"IAM policy of ServiceAccount {NEW}": ["+ roles/iam.serviceAccountUser for group:ops@example.com"],
    }
    assert not plan.is_blocked


async def test_adoption_plans_only_the_fields_that_differ(emulator: Emulator) -> None:
    adopted = """
kind: CloudRunIdentity
metadata: {name: webshop}
spec: {adoption: Adopt, disabled: true, displayName: Web%s}
---
kind: CustomRole
metadata: {name: runner}
spec: {roleID: runner, adoption: Adopt, title: Runner, stage: ALPHA, permissions: [run.jobs.get, %s]}
"""

    same = await planned(emulator, adopted % ("", "run.jobs.run"))
    other = await planned(emulator, adopted % ("shop", "run.jobs.create"))

    assert (same.steps, same.blockers) == ((), ())
    assert steps(other) == {
        "CustomRole projects/shop-1234/roles/runner": [
            "+ permission run.jobs.create: missing → held",
            "- permission run.jobs.run: held → removed",
        ],
        f"ServiceAccount {WEB}": ["~ displayName: Web → Webshop"],
    }


async def test_changes_of_an_existing_account_are_planned(emulator: Emulator) -> None:
    plan = await planned(
        emulator,
        """
kind: CloudRunIdentity
metadata: {name: orders}
spec: {adoption: Adopt}
---
kind: IdentityAttachment
metadata: {name: web}
spec: {workload: {kind: Service, location: europe-west1, name: web}, identityRef: {name: orders}}
---
kind: IdentityKey
metadata: {name: orders}
spec: {identityRef: {name: orders}, secretName: orders-key}
""",
    )

    assert steps(plan) == {
        "Service europe-west1/web of project shop-1234": [
            "~ service account: 123456789012-compute@developer.gserviceaccount.com → "
            "orders@shop-1234.iam.gserviceaccount.com"
        ],
        "IdentityKey payments/orders": ["+ key: absent → created"],
    }
    assert plan.blockers == ()


async def test_exclusive_binding_plans_the_removal_of_unmanaged_members(emulator: Emulator) -> None:
    plan = await planned(
        emulator,
        """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/run.viewer
  authority: Exclusive
  members: [{principal: "group:ops@example.com"}]
""",
    )

    assert steps(plan) == {"IAM policy of Project shop-1234": ["- roles/run.viewer for user:ann@example.com"]}


@pytest.mark.parametrize(
    ("name", "manifest", "reason"),
    [
        (
            "IAMBinding/x",
            "spec: {target: {kind: Project}, role: roles/editor, members: [{principal: 'user:a@b.example'}]}",
            "DeniedByGuardrail",
        ),
        (
            "IAMBinding/x",
            "spec: {target: {kind: Project}, role: roles/none, members: [{principal: 'user:a@b.example'}]}",
            "Rejected",
        ),
        ("CloudRunIdentity/webshop", "spec: {}", "Conflict"),
        ("CustomRole/x", "spec: {roleID: x, permissions: [iam.roles.create]}", "DeniedByGuardrail"),
        (
            "IdentityAttachment/x",
            "spec:\n"
            "  workload: {kind: Service, location: europe-west1, name: cf}\n"
            "  identityRef: {name: billing}",
            "Rejected",
        ),
        ("CloudRunIdentity/orders", "spec: {projectRef: {name: other}}", "DependencyNotReady"),
    ],
)
async def test_refused_object_is_a_blocker_without_steps(
    emulator: Emulator, name: str, manifest: str, reason: str
) -> None:
    kind, _, own = name.partition("/")
    lent_other = "{kind: ManagedProject, metadata: {name: other}, spec: {projectID: other-1234}}"
    billing = "{kind: CloudRunIdentity, metadata: {name: billing}, spec: {}}"
    declared = f"kind: {kind}\nmetadata: {{name: {own}}}\n{manifest}\n"

    plan = await planned(emulator, "\n---\n".join((lent_other, billing, declared)))

    found = blockers(plan)
    assert found.pop("ManagedProject/other") == "PermissionDenied"
    assert found.keys() == {name}
    assert plan.is_blocked
    assert steps(plan) == {f"ServiceAccount {NEW}": ["+ account: absent → created"]}


async def test_each_refused_grant_is_printed_once(emulator: Emulator) -> None:
    roles = [f"roles/pubsub.{name}" for name in ("admin", "editor", "publisher", "subscriber", "viewer")]
    plan = await planned(
        emulator,
        f"""
        kind: CloudRunIdentity
        metadata: {{name: billing}}
        spec: {{roles: [{", ".join(f"{{role: {role}}}" for role in roles)}]}}
        """,
    )
    messages = [each.message for each in plan.blockers]
    for role in roles:
        assert sum(message.count(f"not admit {role} ") for message in messages) == 1
    assert sum("kubectl patch managedproject shop" in message for message in messages) == 1


async def test_key_of_an_account_that_is_not_created_yet_is_planned(emulator: Emulator) -> None:
    plan = await planned(
        emulator,
        """
kind: CloudRunIdentity
metadata: {name: billing}
spec: {}
---
kind: IdentityKey
metadata: {name: billing}
spec: {identityRef: {name: billing}, secretName: billing-key}
""",
    )

    assert steps(plan) == {
        f"ServiceAccount {NEW}": ["+ account: absent → created"],
        "IdentityKey payments/billing": ["+ key: absent → created"],
    }
    assert plan.blockers == ()


@pytest.mark.parametrize("enabled", [True, False])
async def test_disabled_account_blocks_unless_the_plan_enables_it(emulator: Emulator, enabled: bool) -> None:
    plan = await planned(
        emulator,
        f"""
kind: CloudRunIdentity
metadata: {{name: webshop}}
spec: {{adoption: Adopt, disabled: {str(not enabled).lower()}}}
---
kind: IdentityAttachment
metadata: {{name: web}}
spec: {{workload: {{kind: Service, location: europe-west1, name: web}}, identityRef: {{name: webshop}}}}
""",
    )

    assert ("Service europe-west1/web of project shop-1234" in steps(plan)) is enabled
    assert blockers(plan) == ({} if enabled else {"IdentityAttachment/web": "DependencyNotReady"})


async def test_missing_workload_is_waited_for_and_observed_object_is_marked(emulator: Emulator) -> None:
    plan = await planned(
        emulator,
        """
kind: CloudRunIdentity
metadata: {name: webshop}
spec: {adoption: Adopt, disabled: true}
---
kind: IdentityAttachment
metadata: {name: later}
spec: {workload: {kind: Job, location: europe-west1, name: later}, identityRef: {name: webshop}}
---
kind: CloudRunIdentity
metadata: {name: observed}
spec: {managementPolicy: Observe}
""",
    )

    (step,) = plan.steps
    assert (step.object.name, step.text, step.observed) == ("observed", "account: absent → created", True)
    assert blockers(plan) == {"IdentityAttachment/later": "WorkloadNotFound"}
    assert not plan.is_blocked


async def test_observed_project_shows_what_manage_would_do(emulator: Emulator) -> None:
    plan = await planned(
        emulator,
        """
kind: CloudRunIdentity
metadata: {name: billing}
spec: {roles: [{role: roles/run.viewer}]}
""",
        project=PROJECT.replace("projectID: shop-1234", "projectID: shop-1234\n  managementPolicy: Observe"),
    )

    assert steps(plan) == {
        f"ServiceAccount {NEW}": ["+ account: absent → created"],
        "IAM policy of Project shop-1234": [f"+ roles/run.viewer for serviceAccount:{NEW}"],
    }
    assert all(step.observed for step in plan.steps)
    assert plan.blockers == ()


async def test_existing_account_without_adoption_is_a_conflict_in_observe_too(emulator: Emulator) -> None:
    manifest = """
kind: CloudRunIdentity
metadata: {name: webshop}
spec: {managementPolicy: %s}
"""
    for policy in ("Manage", "Observe"):
        plan = await planned(emulator, manifest % policy)
        assert plan.steps == ()
        assert blockers(plan) == {"CloudRunIdentity/webshop": "Conflict"}
        assert "set spec.adoption to Adopt" in plan.blockers[0].message


async def test_plan_shows_when_grants_end_and_which_are_over_already(emulator: Emulator) -> None:
    plan = await planned(
        emulator,
        """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/run.viewer
  members:
  - {principal: "user:eve@example.com", expiresAt: "2036-01-01T00:00:00Z"}
  - {principal: "user:bob@example.com", expiresAt: "2020-01-01T00:00:00Z"}
""",
    )
    assert steps(plan) == {
        "IAM policy of Project shop-1234": [
            "+ roles/run.viewer for user:eve@example.com, which ends at 2036-01-01T00:00:00Z"
        ]
    }
    [note] = plan.notes
    assert note.startswith("IAMBinding payments/viewers: spec.members[1]: 2020-01-01T00:00:00Z was over")
    assert blockers(plan) == {}


async def test_plan_of_1500_members_lists_each_addition_once(emulator: Emulator) -> None:
    members = ", ".join(f"{{principal: 'user:u{number}@example.com'}}" for number in range(1498))
    plan = await planned(
        emulator,
        f"""
kind: IAMBinding
metadata: {{name: viewers}}
spec: {{target: {{kind: Project}}, role: roles/run.viewer, members: [{members}]}}
""",
    )
    assert len(plan.steps) == 1498
    assert not plan.blockers


async def test_plan_of_refused_members_is_bounded(emulator: Emulator) -> None:
    members = ", ".join(f"{{principal: 'user:u{number}@example.com'}}" for number in range(1500))
    plan = await planned(
        emulator,
        f"""
kind: IAMBinding
metadata: {{name: owners}}
spec: {{target: {{kind: Project}}, role: roles/owner, members: [{members}]}}
""",
    )
    assert not plan.steps
    assert len(plan.blockers) == 21
    first, *_, last = plan.blockers
    assert (first.reason, last.reason) == ("DeniedByGuardrail", "DeniedByGuardrail")
    assert "and 1495 more. To admit this" in first.message
    assert last.message.startswith("and 1476 more (DeniedByGuardrail)")
    assert sum(len(each.message) for each in plan.blockers) < 16_000


@pytest.mark.parametrize(
    ("role", "permissions", "expected"),
    [
        ("roles/run.cakeBaker", ("run.services.get",), {}),
        ("roles/run.cakeBaker", ("iam.serviceAccounts.actAs",), "iam.serviceAccounts.actAs"),
        ("roles/run.cakeBaker", ("run.cakes.bake",), "run.cakes.bake"),
        ("roles/run.cakeBakr", (), "roles/run.cakeBakr does not exist"),
    ],
    ids=["harmless", "escalating", "unknown permission", "missing role"],
)
async def test_role_that_the_catalog_lacks_is_judged_by_what_google_shows(
    role: str, permissions: tuple[str, ...], expected: object
) -> None:
    """Google adds roles and permissions. The catalog is of one date, so a read of the role decides."""
    assert role not in role_catalog()
    later = PredefinedRole(role="roles/run.cakeBaker", permissions=permissions)
    async with Emulator(seed=SEED.model_copy(update={"predefined_roles": (later,)})) as emulator:
        plan = await planned(
            emulator,
            f"""
kind: IAMBinding
metadata: {{name: bakers}}
spec: {{target: {{kind: Project}}, role: {role}, members: [{{principal: "user:bob@example.com"}}]}}
""",
            PROJECT.replace("roles/run.viewer, ", f"{role}, "),
        )
    if expected == {}:
        assert steps(plan) == {"IAM policy of Project shop-1234": [f"+ {role} for user:bob@example.com"]}
    else:
        [blocker] = plan.blockers
        assert str(expected) in blocker.message


ACCOUNTS = 40


def many(count: int = ACCOUNTS) -> Seed:
    """Return the seed of a project with accounts, each of a service and with a user."""
    names = [f"app-{number:02}" for number in range(count)]
    user = Binding(role="roles/iam.serviceAccountUser", members=("group:ops@example.com",))
    return Seed(
        projects=(
            Project(
                project_id="shop-1234",
                service_accounts=tuple(ServiceAccount(account_id=each, policy=(user,)) for each in names),
                services=tuple(
                    Workload(
                        location="europe-west1",
                        name=each,
                        service_account=f"{each}@shop-1234.iam.gserviceaccount.com",
                    )
                    for each in names
                ),
            ),
        ),
    )


def adopting(count: int = ACCOUNTS) -> str:
    """Return the manifests that adopt these accounts and attach them to their services."""
    return "\n---\n".join(
        f"""
kind: CloudRunIdentity
metadata: {{name: app-{number:02}}}
spec: {{adoption: Adopt, users: [{{principal: "group:ops@example.com"}}]}}
---
kind: IdentityAttachment
metadata: {{name: app-{number:02}}}
spec:
  workload: {{kind: Service, location: europe-west1, name: app-{number:02}}}
  identityRef: {{name: app-{number:02}}}
"""
        for number in range(count)
    )


OPEN = """
kind: ManagedProject
metadata: {name: shop}
spec:
  projectID: shop-1234
  namespaces: {names: [payments]}
  guardrails: {adoptableAccounts: [{email: "app-*@shop-1234.iam.gserviceaccount.com"}]}
"""


async def test_many_objects_read_each_policy_and_each_list_once() -> None:
    async with Emulator(seed=many()) as emulator:
        plan = await planned(emulator, adopting(), OPEN)
        calls = {rpc.rpartition(".")[2]: count for rpc, count in emulator.calls.items()}
    assert plan == DryRun((), ())
    assert calls["IAM/GetIamPolicy"] == ACCOUNTS
    assert calls["IAM/ListServiceAccounts"] == calls["Services/ListServices"] == 1
    assert calls["IAM/GetServiceAccount"] == calls["Services/GetService"] == SINGLE_READS
    assert calls["Projects/GetProject"] == calls.get("Projects/GetIamPolicy", 1) == 1
    assert "IAM/ListServiceAccountKeys" not in calls


async def test_accounts_that_cannot_be_listed_are_read_one_by_one() -> None:
    async with Emulator(seed=many()) as emulator:
        emulator.faults.inject(LIST_ACCOUNTS, grpc.StatusCode.PERMISSION_DENIED, times=20)
        plan = await planned(emulator, adopting(), OPEN)
        assert emulator.calls["google.iam.admin.v1.IAM/GetServiceAccount"] == ACCOUNTS
    assert plan == DryRun((), ())


async def test_account_that_cannot_be_read_is_an_error_not_no_change() -> None:
    async with Emulator(seed=many()) as emulator:
        emulator.faults.inject(LIST_ACCOUNTS, grpc.StatusCode.PERMISSION_DENIED, times=20)
        emulator.faults.inject(GET_ACCOUNT, grpc.StatusCode.PERMISSION_DENIED, times=2 * ACCOUNTS)
        plan = await planned(emulator, adopting(), OPEN)
    assert plan.is_blocked
    refused = {each.object.name for each in plan.blockers if each.reason == "PermissionDenied"}
    assert refused == {f"app-{number:02}" for number in range(ACCOUNTS)}
