"""`cloudrun-identity who-can` and `what-can` against an emulator."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from cloudrun_identity.cli import cli
from cloudrun_identity.gcp.access_limits import PAUSE, AccessLimits
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.errors import error_info
from cloudrun_identity_playground.emulator.seed import (
    AccessBoundary,
    Binding,
    Condition,
    CustomRole,
    DenyPolicy,
    DenyRule,
    Folder,
    Organization,
    Project,
    Seed,
    ServiceAccount,
    Workload,
)
from tests.gcp.conftest import Observer

EMAIL = "checkout@shop-1234.iam.gserviceaccount.com"
RUNNER = "serviceAccount:runner@shop-1234.iam.gserviceaccount.com"
ANN, BOB, EVE = "user:ann@example.com", "user:bob@example.com", "user:eve@example.com"
OPS, ADMINS = "group:ops@example.com", "group:admins@example.com"
DENIAL = DenyPolicy(
    policy_id="no-tokens",
    rules=(
        DenyRule(
            denied_principals=("principal://goog/subject/eve@example.com",),
            denied_permissions=("iam.googleapis.com/serviceAccounts.*",),
        ),
    ),
)


def seed(**project: Any) -> Seed:
    """Return a project in a folder of an organization, with grants at each level."""
    deployers = "organizations/9/roles/deployer"
    return Seed(
        strict=True,
        organizations=(
            Organization(
                organization_id="9",
                display_name="example.com",
                roles=(CustomRole(role_id="deployer", permissions=("iam.serviceAccounts.actAs",)),),
                policy=(Binding(role="roles/owner", members=(ADMINS,)),),
            ),
        ),
        folders=(
            Folder(
                folder_id="12",
                parent="organizations/9",
                policy=(Binding(role=deployers, members=(BOB,)),),
            ),
        ),
        projects=(
            Project(
                project_id="shop-1234",
                project_number="123456789012",
                parent="folders/12",
                service_accounts=(
                    ServiceAccount(
                        account_id="checkout",
                        policy=(
                            Binding(role="roles/iam.serviceAccountTokenCreator", members=(OPS, EVE)),
                            Binding(
                                role="roles/iam.serviceAccountUser",
                                members=(ANN,),
                                condition=Condition(
                                    title="until-2027",
                                    expression='request.time < timestamp("2027-01-01T00:00:00Z")',
                                ),
                            ),
                        ),
                    ),
                    ServiceAccount(account_id="runner"),
                ),
                services=(
                    Workload(
                        location="europe-west1",
                        name="web",
                        service_account=EMAIL,
                        policy=(
                            Binding(role="roles/run.invoker", members=("allUsers",)),
                            Binding(role="roles/run.developer", members=(BOB,)),
                        ),
                    ),
                ),
                policy=(Binding(role="roles/iam.serviceAccountUser", members=(RUNNER,)),),
                **project,
            ),
        ),
    )


async def run(emulator: Emulator, *arguments: str) -> tuple[int, str, str]:
    """Run a command in a thread; return exit code, standard output and standard error."""
    command = [*arguments, "--google-endpoint", emulator.grpc_address]
    result = await asyncio.to_thread(CliRunner().invoke, cli, command)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=seed(deny_policies=(DENIAL,))) as emulator:
        yield emulator


async def answers(emulator: Emulator, *arguments: str) -> dict[str, dict[str, Any]]:
    """Return the answers by principal and ability."""
    _, output, _ = await run(emulator, *arguments, "-o", "json")
    found: dict[str, dict[str, Any]] = {}
    for answer in json.loads(output)["answers"]:
        found.setdefault(answer["principal"], {})[answer["ability"]] = answer
    return found


ACT_AS = ("who-can", "act-as", EMAIL, "--location", "europe-west1")


def results(found: dict[str, Any]) -> dict[str, str]:
    return {ability: answer["result"] for ability, answer in found.items()}


async def test_grants_of_every_level_are_found(emulator: Emulator) -> None:
    found = await answers(emulator, *ACT_AS)
    assert results(found[RUNNER]) == {"attach": "yes", "deploy": "depends"}  # on the owners in a group
    assert found[RUNNER]["attach"]["bindings"][0]["resource"] == "Project shop-1234"
    assert results(found[ADMINS])["createKey"] == "yes"  # owners of the organization
    assert results(found[BOB]) == {"attach": "yes", "deploy": "yes"}
    assert [each["resource"] for each in found[BOB]["deploy"]["bindings"]] == [
        "Folder 12",  # a custom role of the organization with actAs
        "Service europe-west1/web",
    ]
    assert "managed" not in found[BOB]["attach"]["bindings"][0]


async def test_condition_and_deny_policy_decide(emulator: Emulator) -> None:
    found = await answers(emulator, *ACT_AS)
    assert found[ANN]["attach"]["result"] == "depends"
    assert found[ANN]["attach"]["reasons"][0].startswith("the condition until-2027: request.time < ")
    assert set(results(found[EVE]).values()) == {"no"}
    assert found[EVE]["accessToken"]["reasons"] == ["deny policy no-tokens on Project shop-1234 denies it"]
    assert found[OPS]["accessToken"]["result"] == "depends"  # Eve may be in the group


@pytest.mark.parametrize(
    ("principal", "code", "shown"),
    [
        (BOB, 0, "by organizations/9/roles/deployer on Folder 12"),
        ("user:tom@example.com", 4, "depends on the membership of user:tom@example.com in group:admins"),
        ("group:nobody@example.com", 3, "because no binding grants iam.serviceAccounts.actAs"),
    ],
)
async def test_exit_code_is_the_verdict_for_one_principal(
    emulator: Emulator, principal: str, code: int, shown: str
) -> None:
    found, output, _ = await run(emulator, *ACT_AS, "--principal", principal)
    assert found == code
    assert shown in output
    assert {line for line in output.splitlines() if ":" in line and " " not in line} == {principal}


async def test_keys_and_workloads_of_the_account_are_named(emulator: Emulator) -> None:
    clients = GoogleClients(emulator.grpc_address, Observer())
    key = await Keys(clients, lambda: 0.0).create("shop-1234", EMAIL)
    await clients.close()
    _, output, _ = await run(emulator, *ACT_AS)
    assert "Keys: a holder of the file acts as the account:" in output
    assert f"  {key.key.key_id}, created " in output
    assert output.endswith("Workloads that run as it:\n  Service europe-west1/web\n")
    emulator.edit(
        {
            "serviceAccount": f"//iam.googleapis.com/projects/shop-1234/serviceAccounts/{EMAIL}",
            "disable": True,
        }
    )
    _, output, _ = await run(emulator, *ACT_AS)
    assert output.splitlines()[1] == "  disabled: it cannot authenticate"


async def test_missing_locations_are_unknown(emulator: Emulator) -> None:
    _, output, _ = await run(emulator, "who-can", "act-as", EMAIL)
    assert output.splitlines()[-2] == "Unknown: the answers are incomplete without:"
    assert output.endswith("name the locations with --location\n")


async def test_invokers_of_a_service(emulator: Emulator) -> None:
    arguments = ("who-can", "invoke", "Service/europe-west1/web", "--project", "shop-1234")
    found = await answers(emulator, *arguments)
    assert {principal: results(rows) for principal, rows in found.items()} == {
        "allUsers": {"invoke": "yes"},
        ADMINS: {"invoke": "yes"},
        BOB: {"invoke": "yes"},
    }
    code, output, _ = await run(emulator, *arguments, "--principal", "user:tom@example.com")
    assert code == 0
    assert "by roles/run.invoker for allUsers on Service europe-west1/web" in output


async def test_any_permission_on_any_resource(emulator: Emulator) -> None:
    found = await answers(emulator, "who-can", "iam.serviceAccounts.actAs", "Project/shop-1234")
    assert {*found} == {ADMINS, BOB, RUNNER}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fly", "Project/p"), "'fly' is neither act-as, invoke nor a permission"),
        (("act-as", "payments/checkout"), "name the cluster of CloudRunIdentity payments/checkout"),
        (("act-as", "1-compute@developer.gserviceaccount.com"), "name the project of"),
        (("invoke", "WorkerPool/l/w", "--project", "p"), "a WorkerPool cannot be invoked"),
        (("invoke", "Service/web", "--project", "p"), "must be Service/LOCATION/NAME"),
        (("run.jobs.run", "Nothing/x", "--project", "p"), "starts with none of the kinds"),
        (("act-as", EMAIL, "--principal", "ann@example.com"), "'ann@example.com' is no principal"),
    ],
)
async def test_wrong_argument_is_an_error_of_one_line(
    emulator: Emulator, arguments: tuple[str, ...], message: str
) -> None:
    code, output, errors = await run(emulator, "who-can", *arguments)
    assert (code, output) == (2, "")
    assert message in errors
    assert len(errors.splitlines()) == 1


async def test_missing_account_is_an_error_of_one_line(emulator: Emulator) -> None:
    code, _, errors = await run(emulator, "who-can", "act-as", "gone@shop-1234.iam.gserviceaccount.com")
    assert code == 1
    assert errors.startswith("Error: IAM/GetServiceAccount projects/shop-1234/serviceAccounts/gone@")


async def test_roles_and_abilities_of_a_principal(emulator: Emulator) -> None:
    arguments = ("what-can", BOB, "--project", "shop-1234", "--location", "europe-west1")
    _, output, _ = await run(emulator, *arguments, "-o", "json")
    told = json.loads(output)
    found = {(each["resource"].split("@")[0], each["ability"]): each["result"] for each in told["answers"]}
    assert found[("ServiceAccount checkout", "attach")] == "yes"
    assert found[("ServiceAccount checkout", "accessToken")] == "depends"
    assert found[("Service europe-west1/web", "update")] == "yes"
    roles = {(each["role"], each["resource"]) for each in told["roles"] if not each["dependsOn"]}
    assert roles == {
        ("organizations/9/roles/deployer", "Folder 12"),
        ("roles/run.developer", "Service europe-west1/web"),
        ("roles/run.invoker", "Service europe-west1/web"),
    }


async def test_account_is_a_principal_of_its_own_project(emulator: Emulator) -> None:
    _, output, _ = await run(emulator, "what-can", RUNNER.partition(":")[2])
    assert output.startswith(f"{RUNNER} in project shop-1234\n")
    assert "by roles/iam.serviceAccountUser on Project shop-1234" in output


LIST = "google.iam.v2.Policies/ListPolicies"
REFUSED = {
    LIST: "the deny policies of Project shop-1234",
    "google.iam.v3.PolicyBindings/ListPolicyBindings": "the principal access boundaries of Folder 12",
    "google.cloud.resourcemanager.v3.Folders/GetIamPolicy": "the allow policy of Folder 12",
    "google.cloud.resourcemanager.v3.Folders/GetFolder": "the resources above Folder 12",
    "google.cloud.resourcemanager.v3.Projects/GetProject": "the folder and the organization of Project",
}


@pytest.mark.parametrize("method", REFUSED)
async def test_policy_that_may_not_be_read_is_unknown(emulator: Emulator, method: str) -> None:
    emulator.faults.inject(method, grpc.StatusCode.PERMISSION_DENIED, times=20)
    code, output, _ = await run(emulator, *ACT_AS, "-o", "json")
    assert code == 0
    told = json.loads(output)
    assert any(each.startswith(REFUSED[method]) for each in told["unknown"])
    limits = "google.iam" in method
    for answer in told["answers"]:
        if answer["principal"] == RUNNER and answer["ability"] == "attach":
            assert answer["result"] == ("depends" if limits else "yes")
    code, _, _ = await run(emulator, *ACT_AS, "--principal", "group:nobody@example.com")
    assert code == (3 if limits else 4)


async def test_role_that_may_not_be_read_is_a_reason(emulator: Emulator) -> None:
    emulator.faults.inject("google.iam.admin.v1.IAM/GetRole", grpc.StatusCode.PERMISSION_DENIED, times=99)
    found = await answers(emulator, *ACT_AS)
    assert found[BOB]["attach"]["result"] == "depends"
    assert "could not be read" in found[BOB]["attach"]["reasons"][0]


async def test_boundary_of_the_project_limits_its_accounts() -> None:
    boundary = AccessBoundary(policy="only-own")
    async with Emulator(seed=seed(access_boundaries=(boundary,))) as emulator:
        found = await answers(emulator, *ACT_AS)
    assert found[RUNNER]["attach"]["result"] == "depends"
    (reason,) = found[RUNNER]["attach"]["reasons"]
    assert reason.startswith("principal access boundary only-own, which limits the principals of //")
    assert found[BOB]["attach"]["result"] == "yes"


async def test_limits_are_read_once_per_command(emulator: Emulator) -> None:
    emulator.calls.reset()
    await run(emulator, "what-can", BOB, "--project", "shop-1234", "--location", "europe-west1")
    assert emulator.calls[LIST] == 3  # project, folder, organization
    assert emulator.calls["google.iam.v2.Policies/GetPolicy"] == 1
    assert emulator.calls["google.iam.v3.PolicyBindings/ListPolicyBindings"] == 3


async def test_read_beyond_the_quota_is_repeated_after_a_pause(emulator: Emulator) -> None:
    clients = GoogleClients(emulator.grpc_address, Observer())
    pauses: list[float] = []
    shown: list[str] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    limits = AccessLimits(clients, "shop-1234", shown.append, sleep)
    exceeded = error_info("RATE_LIMIT_EXCEEDED", "googleapis.com")
    emulator.faults.inject(LIST, grpc.StatusCode.RESOURCE_EXHAUSTED, times=2, details=[exceeded])
    (rule,) = await limits.deny_rules("projects/shop-1234", "Project shop-1234")
    await clients.close()
    assert rule.policy == "deny policy no-tokens on Project shop-1234"
    assert pauses == [PAUSE, PAUSE]
    assert shown[0] == "waiting 15 s for the quota of deny policies and boundaries: 5 reads a minute"
