"""Export of a surveyed project as manifest files."""

import json
from dataclasses import replace

import yaml

from cloudrun_identity.api import KINDS, MAX_ENTRIES, MAX_SPEC_BYTES, ManagedProject, TargetKind, WorkloadKind
from cloudrun_identity.api.predefined_roles import ACTING_ROLES
from cloudrun_identity.api.validation import complaints
from cloudrun_identity.exporting.export import Export, export
from cloudrun_identity.exporting.namespaces import Namespaces
from cloudrun_identity.exporting.survey import Survey
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import Admitted, GuardrailFacts
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.guardrails import decide
from tests.target_resources import DATA_KINDS, declared, resource_of
from tests.unit.gcp.workload_states import settled

PROJECT = Target(TargetKind.PROJECT, "acme-shop")
DOMAIN = "acme-shop.iam.gserviceaccount.com"
OPS = "group:ops@example.com"
KSA = "serviceAccount:gke-1.svc.id.goog[shop/web]"
HARMLESS = frozenset({"run.services.get"})


def account(account_id: str, **fields: object) -> ServiceAccount:
    return ServiceAccount("acme-shop", f"{account_id}@{DOMAIN}", "1", **fields)


def on_account(account_id: str) -> Target:
    return Target(TargetKind.SERVICE_ACCOUNT, "acme-shop", name=f"{account_id}@{DOMAIN}")


def surveyed(*grants: Grant, accounts: tuple[str, ...] = ("webshop", "deploy"), **fields: object) -> Survey:
    permissions = {grant.role: HARMLESS for grant in grants}
    found = tuple(account(each) for each in accounts)
    return Survey("acme-shop", accounts=found, grants=grants, permissions=permissions, **fields)


def objects(result: Export) -> dict[str, dict[str, object]]:
    """Return the specs of all objects by `KIND/NAME`, after a check that every object is valid."""
    found = [obj for text in result.files.values() for obj in yaml.safe_load_all(text)]
    for obj in found:
        assert complaints(KINDS[obj["kind"]].model_validate(obj)) == []
    return {f"{obj['kind']}/{obj['metadata']['name']}": obj["spec"] for obj in found}


def left_out(result: Export) -> dict[str, str]:
    return {each.what: each.why for each in result.left_out}


def test_account_is_adopted_unchanged_with_its_grants_and_users() -> None:
    survey = Survey(
        "acme-shop",
        accounts=(
            account("webshop", display_name="Web", description="The shop", disabled=True),
            account("deploy"),
        ),
        grants=(
            Grant(PROJECT, "roles/cloudsql.client", f"serviceAccount:webshop@{DOMAIN}"),
            Grant(on_account("webshop"), "roles/iam.serviceAccountUser", f"serviceAccount:deploy@{DOMAIN}"),
            Grant(on_account("webshop"), "roles/iam.serviceAccountTokenCreator", OPS),
            Grant(on_account("webshop"), "roles/iam.serviceAccountOpenIdTokenCreator", OPS),
            Grant(on_account("webshop"), "roles/iam.workloadIdentityUser", KSA),
            Grant(on_account("webshop"), "roles/iam.workloadIdentityUser", f"serviceAccount:deploy@{DOMAIN}"),
        ),
        permissions=dict.fromkeys(("roles/cloudsql.client", *ACTING_ROLES), HARMLESS),
    )

    found = objects(export(survey, Namespaces("shop")))

    assert found["CloudRunIdentity/webshop"] == {
        "projectRef": {"name": "acme-shop"},
        "accountID": "webshop",
        "displayName": "Web",
        "description": "The shop",
        "disabled": True,
        "adoption": "Adopt",
        "existingGrants": "Claim",
        "roles": [{"role": "roles/cloudsql.client"}],
        "users": [{"identityRef": {"name": "deploy"}}],
        "tokenCreators": [{"principal": OPS}],
        "openIDTokenCreators": [{"principal": OPS}],
        "workloadIdentityUsers": [{"principal": KSA}, {"principal": f"serviceAccount:deploy@{DOMAIN}"}],
    }
    assert found.keys() == {"ManagedProject/acme-shop", "CloudRunIdentity/webshop", "CloudRunIdentity/deploy"}


def test_guardrails_admit_only_exported_grants() -> None:
    survey = surveyed(
        Grant(PROJECT, "roles/run.viewer", OPS),
        Grant(PROJECT, "roles/cloudsql.client", f"serviceAccount:webshop@{DOMAIN}"),
    )

    spec = objects(export(survey, Namespaces("shop")))["ManagedProject/acme-shop"]

    assert spec["namespaces"] == {"names": ["shop"]}
    assert spec["guardrails"] == {
        "defaultGrants": False,
        "grants": [
            {
                "roles": ["roles/cloudsql.client"],
                "targetKinds": ["Project"],
                "members": ["identity:shop/webshop"],
                "namespaces": ["shop"],
                "claim": True,
            },
            {
                "roles": ["roles/run.viewer"],
                "targetKinds": ["Project"],
                "members": [OPS],
                "namespaces": ["shop"],
                "claim": True,
            },
        ],
        "adoptableAccounts": [
            {"email": f"deploy@{DOMAIN}", "namespaces": ["shop"]},
            {"email": f"webshop@{DOMAIN}", "namespaces": ["shop"]},
        ],
    }


def test_guardrails_admit_exported_grants_only_where_they_exist() -> None:
    when = IAMCondition("until 2040", "", 'request.time < timestamp("2040-01-01T00:00:00Z")')
    web = Target(TargetKind.SERVICE, "acme-shop", "europe-west1", "web")
    exported = Grant(web, "roles/run.invoker", "allUsers", when)
    manifest = next(yaml.safe_load_all(export(surveyed(exported), Namespaces("shop")).files["project.yaml"]))
    project, facts = ManagedProject.model_validate(manifest), GuardrailFacts(frozenset({"shop"}))

    def admits(grant: Grant) -> bool:
        request = GrantRequest(
            "shop", grant.target, grant.role, grant.member, frozenset(), condition=grant.condition
        )
        return isinstance(decide(request, project, facts), Admitted)

    assert admits(exported)
    assert not admits(replace(exported, target=replace(web, location="us-central1")))
    assert not admits(replace(exported, condition=None))


def test_project_lists_the_exported_locations() -> None:
    def locations(*looked_at: str) -> object:
        result = export(surveyed(locations=looked_at), Namespaces("shop"))
        return objects(result)["ManagedProject/acme-shop"].get("locations")

    assert locations("europe-west1", "us-east1") == ["europe-west1", "us-east1"]
    assert locations() is None


def test_escalating_and_unreadable_roles_need_allow_escalation() -> None:
    member = f"serviceAccount:deploy@{DOMAIN}"
    survey = Survey(
        "acme-shop",
        accounts=(account("deploy"),),
        grants=(Grant(PROJECT, "roles/run.admin", member), Grant(PROJECT, "organizations/1/roles/x", member)),
        permissions={
            "roles/run.admin": frozenset({"run.services.setIamPolicy"}),
            "organizations/1/roles/x": None,
        },
    )

    result = export(survey, Namespaces("shop"))

    project = ManagedProject.model_validate(next(yaml.safe_load_all(result.files["project.yaml"])))
    (entry,) = project.spec.guardrails.grants
    assert entry.allow_escalation
    assert result.left_out == ()


def test_conditional_grants_and_other_principals_become_bindings() -> None:
    when = IAMCondition("until 2040", "", 'request.time < timestamp("2040-01-01T00:00:00Z")')
    survey = surveyed(
        Grant(PROJECT, "roles/run.viewer", OPS, when),
        Grant(PROJECT, "roles/run.viewer", OPS),
        Grant(PROJECT, "roles/run.viewer", "user:ann@example.com"),
    )

    found = objects(export(survey, Namespaces("shop")))

    assert found["IAMBinding/project-run-viewer"]["members"] == [
        {"principal": OPS},
        {"principal": "user:ann@example.com"},
    ]
    assert found["IAMBinding/project-run-viewer-until-2040"]["condition"] == {
        "title": "until 2040",
        "expression": when.expression,
    }


def test_grants_on_each_kind_of_target_are_declared_and_admitted() -> None:
    targets = [
        *(resource_of(kind, "acme-shop") for kind in DATA_KINDS),
        Target(TargetKind.FOLDER, "acme-shop", name="42"),
        Target(TargetKind.ORGANIZATION, "acme-shop", name="7"),
    ]
    result = export(
        surveyed(*(Grant(target, "roles/run.viewer", OPS) for target in targets)), Namespaces("shop")
    )

    bindings = [spec for name, spec in objects(result).items() if name.startswith("IAMBinding/")]
    assert [spec["target"] for spec in bindings] == [declared(target) for target in targets]
    assert result.left_out == ()


def test_custom_role_is_referenced_by_its_object() -> None:
    name = "projects/acme-shop/roles/flowStarter"
    role = CustomRoleState(name, "Flow starter", "", "GA", frozenset({"run.jobs.run"}), b"")
    deleted = CustomRoleState(
        "projects/acme-shop/roles/old", "", "", "GA", frozenset({"run.jobs.run"}), b"", True
    )
    survey = surveyed(Grant(PROJECT, name, f"serviceAccount:deploy@{DOMAIN}"), roles=(role, deleted))

    result = export(survey, Namespaces("shop"))

    found = objects(result)
    assert found["CustomRole/flow-starter"]["adoption"] == "Adopt"
    guardrails = found["ManagedProject/acme-shop"]["guardrails"]
    assert isinstance(guardrails, dict)
    assert guardrails["adoptableRoles"] == [{"roleID": "flowStarter", "namespaces": ["shop"]}]
    assert guardrails["customRoles"] == {"permissions": ["run.jobs.run"], "namespaces": ["shop"]}
    assert found["CloudRunIdentity/deploy"]["roles"] == [{"customRoleRef": {"name": "flow-starter"}}]
    assert left_out(result) == {"CustomRole projects/acme-shop/roles/old": "deleted"}


def test_unsuitable_members_are_left_out_with_the_reason() -> None:
    default = "1-compute@developer.gserviceaccount.com"
    agent = "serviceAccount:service-1@serverless-robot-prod.iam.gserviceaccount.com"
    members = {
        f"deleted:serviceAccount:old@{DOMAIN}?uid=1": "a deleted principal",
        "projectEditor:acme-shop": "a convenience value for the principals with a basic role",
        f"serviceAccount:{default}": "a default account",
        agent: "a Google-managed service agent",
        f"serviceAccount:ops@{DOMAIN}": f"ops@{DOMAIN} is excluded from the export",
        "iamMember:whatever": "not a documented form of a principal",
    }
    survey = surveyed(*(Grant(PROJECT, "roles/run.viewer", member) for member in members), accounts=("ops",))

    result = export(survey, Namespaces("shop"), frozenset({f"OPS@{DOMAIN}"}))

    assert left_out(result) == {
        f"ServiceAccount ops@{DOMAIN}": "excluded from the export",
        **{f"roles/run.viewer for {member} on Project acme-shop": why for member, why in members.items()},
    }
    assert objects(result).keys() == {"ManagedProject/acme-shop"}


def test_grant_that_no_guardrail_admits_is_left_out() -> None:
    survey = surveyed(Grant(on_account("webshop"), "roles/iam.serviceAccountUser", "domain:example.com"))

    result = export(survey, Namespaces("shop"))

    (why,) = left_out(result).values()
    assert "name each member" in why
    assert "grants" not in objects(result)["ManagedProject/acme-shop"]["guardrails"]


def test_more_accounts_than_entries_are_adopted_by_pattern() -> None:
    accounts = tuple(f"runner-{number:04}" for number in range(MAX_ENTRIES + 1))

    result = export(surveyed(accounts=(*accounts, "checkout")), Namespaces("shop"))

    assert result.is_forced
    assert [str(each) for each in result.conventions] == [
        f"runner-* replaces {MAX_ENTRIES + 1} accounts that namespace shop may adopt"
    ]
    assert "runner-* replaces" in result.files["project.yaml"]
    guardrails = yaml.safe_load(result.files["project.yaml"])["spec"]["guardrails"]
    assert [each["email"] for each in guardrails["adoptableAccounts"]] == [
        f"checkout@{DOMAIN}",
        f"runner-*@{DOMAIN}",
    ]
    assert result.left_out == ()


def test_accounts_without_a_convention_are_left_out_beyond_the_limit() -> None:
    accounts = tuple(f"{number:04}runner" for number in range(MAX_ENTRIES + 2))

    result = export(surveyed(accounts=accounts), Namespaces("shop"))

    assert [count for _, count in result.reasons] == [2]
    assert "at most 1024 adoptable accounts" in result.left_out[0].why


def test_patterns_admit_no_other_account_that_exists() -> None:
    accounts = ("team-a-web", "team-a-api", "team-a-jobs", "team-b-web")
    grants = [
        Grant(PROJECT, "roles/cloudsql.client", f"serviceAccount:{each}@{DOMAIN}") for each in accounts[:3]
    ]
    result = export(surveyed(*grants, accounts=accounts), Namespaces("shop"), patterns=True)

    guardrails = objects(result)["ManagedProject/acme-shop"]["guardrails"]
    assert isinstance(guardrails, dict)
    assert guardrails["grants"][0]["members"] == ["identity:shop/team-a-*"]
    assert not result.is_forced


def test_account_of_another_project_is_attached_by_email() -> None:
    ledger = "ledger@acme-data.iam.gserviceaccount.com"
    web = settled(Workload(WorkloadKind.SERVICE, "acme-shop", "europe-west1", "web"), ledger)
    survey = surveyed(accounts=(), workloads=(web,))

    result = export(survey, Namespaces("shop"))

    attachment = objects(result)["IdentityAttachment/service-europe-west1-web"]
    assert attachment["email"] == ledger
    guardrails = objects(result)["ManagedProject/acme-shop"]["guardrails"]
    assert isinstance(guardrails, dict)
    assert guardrails["accounts"] == [{"email": ledger, "namespaces": ["shop"]}]


def test_hand_made_keys_are_mentioned_with_the_account() -> None:
    survey = surveyed(hand_made_keys={f"webshop@{DOMAIN}": ("0123",)})

    assert "Keys made by hand: 0123." in export(survey, Namespaces("shop")).files["identities.yaml"]


def test_project_with_two_hundred_accounts_is_exported_as_a_whole() -> None:
    accounts = tuple(f"runner-{number:03}" for number in range(200))
    users = tuple(
        Grant(on_account(each), "roles/iam.serviceAccountUser", f"user:{each}@example.com")
        for each in accounts
    )

    result = export(surveyed(*users, accounts=accounts), Namespaces("shop"))

    guardrails = objects(result)["ManagedProject/acme-shop"]["guardrails"]
    assert isinstance(guardrails, dict)
    assert guardrails["defaultGrants"] is False
    assert len(guardrails["grants"]) == len(guardrails["adoptableAccounts"]) == len(accounts)
    assert result.left_out == ()
    assert len(json.dumps(objects(result)["ManagedProject/acme-shop"])) < MAX_SPEC_BYTES


def test_export_is_deterministic() -> None:
    grants = tuple(Grant(PROJECT, f"roles/run.{each}", OPS) for each in ("viewer", "invoker"))

    assert export(surveyed(*grants), Namespaces("shop")) == export(surveyed(*grants), Namespaces("shop"))


def test_binding_of_1500_members_is_one_object() -> None:
    members = [f"user:{number:04}@example.com" for number in range(1500)]
    result = export(
        surveyed(*(Grant(PROJECT, "roles/browser", each) for each in members)), Namespaces("payments")
    )
    [binding] = [name for name in objects(result) if name.startswith("IAMBinding/")]
    assert len(objects(result)[binding]["members"]) == 1500  # type: ignore[arg-type]


def test_binding_is_split_by_the_size_of_its_members() -> None:
    subject = "principal://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p/subject/"
    members = [f"{subject}{'s' * 200}{number:04}" for number in range(1000)]
    result = export(
        surveyed(*(Grant(PROJECT, "roles/browser", each) for each in members)), Namespaces("payments")
    )
    bindings = [spec for name, spec in objects(result).items() if name.startswith("IAMBinding/")]
    assert len(bindings) == 2
    assert all(len(json.dumps(spec)) < MAX_SPEC_BYTES for spec in bindings)
    assert sum(len(spec["members"]) for spec in bindings) == 1000  # type: ignore[arg-type, misc]


def test_role_with_as_many_permissions_as_google_accepts_is_exported() -> None:
    permissions = frozenset(f"run.r{number:04}.get" for number in range(2999))
    pools = "iam.googleapis.com/workloadIdentityPools.get"
    role = CustomRoleState("projects/acme-shop/roles/wide", "Wide", "", "GA", permissions | {pools}, b"1")
    found = objects(export(surveyed(roles=(role,)), Namespaces("payments")))
    assert pools in found["CustomRole/wide"]["permissions"]  # type: ignore[operator]
    guardrails = ManagedProject.model_validate(
        {"kind": "ManagedProject", "metadata": {"name": "x"}, "spec": found["ManagedProject/acme-shop"]}
    ).spec.guardrails
    assert len(guardrails.custom_roles.permissions) == 3000
