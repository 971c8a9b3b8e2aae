"""Export into several namespaces."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS, ManagedProject, TargetKind, WorkloadKind
from cloudrun_identity.api.validation import complaints
from cloudrun_identity.exporting.export import Export, export
from cloudrun_identity.exporting.namespaces import Namespaces
from cloudrun_identity.exporting.survey import Survey
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.admission import Admitted, DeclaredIdentity, GuardrailFacts
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.guardrails import decide
from tests.unit.gcp.workload_states import settled

PROJECT = Target(TargetKind.PROJECT, "acme-shop")
DOMAIN = "acme-shop.iam.gserviceaccount.com"
OPS = "group:ops@example.com"
TEAMS = Namespaces("platform", (("team-a-*", "team-a"), ("team-b-*", "team-b")))
ACTAS = "roles/iam.serviceAccountUser"


def member(account_id: str) -> str:
    return f"serviceAccount:{account_id}@{DOMAIN}"


def on_account(account_id: str) -> Target:
    return Target(TargetKind.SERVICE_ACCOUNT, "acme-shop", name=f"{account_id}@{DOMAIN}")


def service(name: str, account_id: str = "", **labels: str) -> WorkloadState:
    workload = Workload(WorkloadKind.SERVICE, "acme-shop", "europe-west1", name)
    state = settled(workload, f"{account_id}@{DOMAIN}" if account_id else "")
    state.message.labels.update(labels)
    return state


def surveyed(*grants: Grant, accounts: tuple[str, ...] = (), **fields: Any) -> Survey:
    found = tuple(ServiceAccount("acme-shop", f"{each}@{DOMAIN}", "1") for each in sorted(accounts))
    permissions = {grant.role: frozenset({"run.services.get"}) for grant in grants}
    return Survey("acme-shop", accounts=found, grants=grants, permissions=permissions, **fields)


def objects(result: Export) -> dict[str, Any]:
    """Return the specs of all objects by `KIND/NAMESPACE/NAME`, after a check that every object is valid."""
    found = [obj for text in result.files.values() for obj in yaml.safe_load_all(text)]
    for obj in found:
        assert complaints(KINDS[obj["kind"]].model_validate(obj)) == []
    return {
        f"{obj['kind']}/{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}": obj["spec"]
        for obj in found
    }


def project_of(result: Export) -> ManagedProject:
    return ManagedProject.model_validate(yaml.safe_load(result.files["project.yaml"]))


def test_accounts_are_declared_in_the_namespaces_of_their_names() -> None:
    result = export(surveyed(accounts=("team-a-web", "team-b-web", "deployer")), TEAMS)

    assert [name for name in objects(result) if name.startswith("CloudRunIdentity/")] == [
        "CloudRunIdentity/platform/deployer",
        "CloudRunIdentity/team-a/team-a-web",
        "CloudRunIdentity/team-b/team-b-web",
    ]
    assert list(result.files) == [
        "project.yaml",
        "platform-identities.yaml",
        "team-a-identities.yaml",
        "team-b-identities.yaml",
    ]
    assert project_of(result).spec.namespaces.names == ("platform", "team-a", "team-b")


def test_first_matching_pattern_decides() -> None:
    namespaces = Namespaces("platform", (("team-a-ci", "ci"), *TEAMS.patterns))

    result = export(surveyed(accounts=("team-a-ci", "team-a-web")), namespaces)

    assert result.namespaces == ("ci", "team-a")


def test_label_of_workloads_places_them_and_their_accounts() -> None:
    survey = surveyed(
        accounts=("checkout", "shared", "strange"),
        workloads=(
            service("checkout", "checkout", team="payments"),
            service("one", "shared", team="payments"),
            service("two", "shared", team="orders"),
            service("strange", "strange", team="Not_A_Namespace"),
        ),
    )

    found = objects(export(survey, Namespaces("platform", label="team")))

    assert found.keys() >= {
        "CloudRunIdentity/payments/checkout",
        "CloudRunIdentity/platform/shared",
        "CloudRunIdentity/platform/strange",
        "IdentityAttachment/payments/service-europe-west1-checkout",
        "IdentityAttachment/platform/service-europe-west1-two",
    }


def test_members_of_other_namespaces_are_allowed_by_their_identities() -> None:
    web = service("team-a-web", "team-a-web")
    invoker = Grant(web.workload.target, "roles/run.invoker", member("team-b-caller"))
    act_as = Grant(on_account("team-a-web"), ACTAS, member("team-b-deploy"))
    survey = surveyed(
        invoker, act_as, accounts=("team-a-web", "team-b-caller", "team-b-deploy"), workloads=(web,)
    )

    result = export(survey, TEAMS)

    found = objects(result)
    binding = found["IAMBinding/team-a/service-europe-west1-team-a-web-run-invoker"]
    assert binding["members"] == [{"identityRef": {"name": "team-b-caller", "namespace": "team-b"}}]
    for name in ("team-b-caller", "team-b-deploy"):
        assert found[f"CloudRunIdentity/team-b/{name}"]["allowedNamespaces"] == ["team-a"]
    assert found["CloudRunIdentity/team-a/team-a-web"]["users"] == [
        {"identityRef": {"name": "team-b-deploy", "namespace": "team-b"}}
    ]
    assert result.left_out == ()


def test_identity_with_too_many_referring_namespaces_leaves_grants_out() -> None:
    teams = [f"team-{number:02}" for number in range(70)]
    grants = [Grant(on_account(f"{team}-web"), ACTAS, member("deployer")) for team in teams]
    namespaces = Namespaces("platform", tuple((f"{team}-*", team) for team in teams))

    result = export(surveyed(*grants, accounts=("deployer", *(f"{team}-web" for team in teams))), namespaces)

    assert len(objects(result)["CloudRunIdentity/platform/deployer"]["allowedNamespaces"]) == 64
    assert result.reasons == (("an identity allows at most 64 other namespaces to refer to it", 6),)


def test_custom_role_is_referenced_by_name_in_other_namespaces() -> None:
    name = "projects/acme-shop/roles/flowStarter"
    role = CustomRoleState(name, "Flow starter", "", "GA", frozenset({"run.jobs.run"}), b"")
    grants = [Grant(PROJECT, name, member("team-a-web")), Grant(PROJECT, name, member("deployer"))]

    found = objects(export(surveyed(*grants, accounts=("team-a-web", "deployer"), roles=(role,)), TEAMS))

    assert "CustomRole/platform/flow-starter" in found
    assert found["CloudRunIdentity/platform/deployer"]["roles"] == [
        {"customRoleRef": {"name": "flow-starter"}}
    ]
    assert found["CloudRunIdentity/team-a/team-a-web"]["roles"] == [{"role": name}]
    assert found["ManagedProject//acme-shop"]["guardrails"]["customRoles"]["namespaces"] == ["platform"]


@pytest.mark.parametrize("patterns", [False, True])
def test_guardrails_admit_a_grant_in_its_namespace_only(patterns: bool) -> None:
    grant = Grant(PROJECT, "roles/cloudsql.client", member("team-a-web"))
    survey = surveyed(grant, accounts=("team-a-web", "team-b-web"))

    project = project_of(export(survey, TEAMS, patterns=patterns))
    facts = GuardrailFacts(
        frozenset({"team-a", "team-b"}),
        {f"{each}-web@{DOMAIN}": DeclaredIdentity(each, f"{each}-web") for each in ("team-a", "team-b")},
    )

    def admits(namespace: str, grant: Grant) -> bool:
        request = GrantRequest(namespace, grant.target, grant.role, grant.member, frozenset(), claim=True)
        return isinstance(decide(request, project, facts), Admitted)

    assert admits("team-a", grant)
    assert not admits("team-b", grant)
    assert not admits("team-b", replace(grant, member=member("team-b-web")))


@pytest.mark.slow
def test_forty_teams_with_a_thousand_accounts_fit_exactly() -> None:
    teams = [f"team-{number:02}" for number in range(40)]
    accounts = tuple(f"{team}-app-{number:02}" for team in teams for number in range(25))
    grants = [
        *(Grant(PROJECT, "roles/logging.logWriter", member(each)) for each in accounts),
        *(Grant(PROJECT, "roles/cloudsql.client", member(each)) for each in accounts[::3]),
        *(Grant(on_account(each), ACTAS, f"group:{each[:7]}@example.com") for each in accounts),
    ]
    namespaces = Namespaces("platform", tuple((f"{team}-*", team) for team in teams))

    exact = export(surveyed(*grants, accounts=accounts), namespaces)
    combined = export(surveyed(*grants, accounts=accounts), namespaces, patterns=True)

    for result in (exact, combined):
        assert result.left_out == ()
        assert not result.is_forced
        assert not result.is_too_large
        assert len(result.files) == 1 + len(teams)
    assert len(project_of(exact).spec.guardrails.adoptable_accounts) == len(accounts)
    assert len(project_of(combined).spec.guardrails.adoptable_accounts) == len(teams)
    assert "team-07-* replaces 25 accounts that namespace team-07 may adopt" in map(str, combined.conventions)
