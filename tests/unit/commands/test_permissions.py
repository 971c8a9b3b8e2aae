"""`cloudrun-identity permissions`: the page, the list and the gcloud commands."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cloudrun_identity.cli import cli
from cloudrun_identity.gcp.permissions import ABOVE_PROJECTS, ACCOUNT_PERMISSIONS, FEATURES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "permissions.md"
OPERATOR = "serviceAccount:op@ops-1234.iam.gserviceaccount.com"
MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop-1234}
spec:
  guardrails: {grants: [%s]}
"""
ON_PROJECT = '{roles: [roles/viewer], targetKinds: [Project], members: ["*"]}'


def printed(*arguments: str, text: str = "") -> str:
    result = CliRunner().invoke(cli, ["permissions", *arguments], input=text)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(text: str | bytes) -> str:
    result = CliRunner().invoke(cli, ["permissions", "-f", "-"], input=text)
    assert result.exit_code == 1
    return result.output


def granted(output: str) -> set[str]:
    """Return the permissions of the roles that the commands create."""
    lists = [line.partition("--permissions=")[2] for line in output.splitlines() if "--permissions=" in line]
    return {permission for each in lists for permission in each.split(",")}


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == printed("--markdown"), "run `make generate`"


def test_permissions_are_listed_by_feature() -> None:
    lines = printed().splitlines()
    features = {**FEATURES, **ABOVE_PROJECTS}
    assert [line for line in lines if not line.startswith(" ")] == list(features)
    assert {line.strip() for line in lines} >= {each for listed in features.values() for each in listed}


def test_permissions_unused_by_the_guardrails_are_not_granted() -> None:
    closed = granted(printed("-f", "-", text=MANIFESTS % ""))
    assert "resourcemanager.projects.setIamPolicy" not in closed
    assert "secretmanager.secrets.setIamPolicy" not in closed
    assert "iam.roles.create" not in closed
    assert "iam.serviceAccountKeys.create" not in closed
    assert "iam.serviceAccounts.create" in closed


def test_permissions_on_a_kind_are_granted_if_an_entry_names_it() -> None:
    entry = "{roles: ['*'], targetKinds: [StorageBucket], names: [exports], members: ['*']}"
    permissions = granted(printed("-f", "-", text=MANIFESTS % entry))
    assert {
        "storage.buckets.get",
        "storage.buckets.getIamPolicy",
        "storage.buckets.setIamPolicy",
    } <= permissions
    assert "secretmanager.secrets.setIamPolicy" not in permissions


def test_one_kind_of_secret_needs_the_permissions_on_secrets() -> None:
    entry = "{roles: ['*'], targetKinds: [RegionalSecret], names: [key], members: ['*']}"
    assert "secretmanager.secrets.setIamPolicy" in granted(printed("-f", "-", text=MANIFESTS % entry))


def entry_for(service: str, names: str) -> str:
    return (
        f"{{roles: ['*'], targetKinds: [Resource], services: [{service}], names: ['{names}'], "
        "members: ['*'], namespaces: [shop]}"
    )


def test_permissions_on_resources_of_an_api_are_those_of_predefined_roles() -> None:
    one = printed("-f", "-", text=MANIFESTS % entry_for("eventarc.googleapis.com", "locations/*/triggers/*"))
    assert {"eventarc.triggers.getIamPolicy", "eventarc.triggers.setIamPolicy"} <= granted(one)
    assert "eventarc.channels.setIamPolicy" not in granted(one)
    assert "# guardrails.grants lists eventarc.googleapis.com for target.resource: eventarc.tr" in one

    all_names = printed("-f", "-", text=MANIFESTS % entry_for("eventarc.googleapis.com", "*"))
    assert {"eventarc.triggers.setIamPolicy", "eventarc.channels.setIamPolicy"} <= granted(all_names)


def test_unknown_permissions_of_an_api_are_left_to_look_up() -> None:
    output = printed("-f", "-", text=MANIFESTS % entry_for("unheard.googleapis.com", "*"))
    assert "unheard.googleapis.com" in output
    assert "look up getIamPolicy and setIamPolicy of its resources" in output


def test_permissions_on_a_folder_are_granted_on_the_folder() -> None:
    entry = "{roles: ['*'], targetKinds: [Folder], names: ['42'], members: ['*'], namespaces: [shop]}"
    output = printed("-f", "-", text=MANIFESTS % entry)
    assert "gcloud resource-manager folders add-iam-policy-binding 42 --member=" in output
    assert "resourcemanager.folders.setIamPolicy" not in granted(output)


def test_key_permissions_are_granted_if_guardrails_allow_keys() -> None:
    allowing = MANIFESTS.replace("grants: [%s]", "keys: Allowed")
    assert "iam.serviceAccountKeys.create" in granted(printed("-f", "-", text=allowing))


def test_set_iam_policy_is_granted_with_a_condition_only() -> None:
    output = printed("-f", "-", "--operator", OPERATOR, text=MANIFESTS % ON_PROJECT)
    assert "hasOnly(['roles/viewer'])" in output
    *_, first, second = [line for line in output.splitlines() if "add-iam-policy-binding" in line]
    assert f"--member={OPERATOR}" in first
    assert first.endswith("--condition=None")
    assert second.endswith("--condition-from-file=condition.yaml")
    [role] = [line for line in output.splitlines() if "projects.setIamPolicy" in line]
    assert granted(role) == {"resourcemanager.projects.getIamPolicy", "resourcemanager.projects.setIamPolicy"}


def test_delegation_chain_is_granted_account_by_account() -> None:
    account, middle = "cri@ops-1234.iam.gserviceaccount.com", "middle@ops-1234.iam.gserviceaccount.com"
    credentials = f"{{impersonateServiceAccount: {account}, delegates: [{middle}]}}"
    output = printed(
        "-f", "-", "--operator", OPERATOR, text=(MANIFESTS % "") + f"  credentials: {credentials}\n"
    )
    links = [line.split() for line in output.splitlines() if "service-accounts" in line]
    assert [(link[4], link[5]) for link in links] == [
        (middle, f"--member={OPERATOR}"),
        (account, f"--member=serviceAccount:{middle}"),
    ]
    assert f"--member=serviceAccount:{account} --role=projects/shop-1234/roles/" in output


OWN = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop-1234}
spec:
  namespaces: {names: [shop]}
  guardrails: {keys: Allowed, accounts: [{email: legacy@shop-1234.iam.gserviceaccount.com}]}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: ledger-1234}
spec: {}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: CloudRunIdentity
metadata: {name: checkout, namespace: shop}
spec: {projectRef: {name: shop-1234}}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: CloudRunIdentity
metadata: {name: writer, namespace: ledger}
spec: {projectRef: {name: ledger-1234}, accountID: ledger-writer}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: IdentityAttachment
metadata: {name: writer, namespace: shop}
spec:
  projectRef: {name: shop-1234}
  workload: {kind: Service, location: europe-west1, name: writer}
  identityRef: {name: writer, namespace: ledger}
"""


def test_own_accounts_only_grants_rights_over_accounts_on_single_accounts() -> None:
    output = printed("-f", "-", "--operator", OPERATOR, "--own-accounts-only", text=OWN)
    shop, ledger = output.split("# ManagedProject ledger-1234")
    roles = [granted(line) for line in shop.splitlines() if "iam roles create" in line]
    assert [role & ACCOUNT_PERMISSIONS for role in roles] == [set(), ACCOUNT_PERMISSIONS]
    accounts = [line.split()[4:] for line in shop.splitlines() if "service-accounts add-iam" in line]
    role = "--role=projects/shop-1234/roles/cloudrunIdentityAccounts"
    member, unconditional = f"--member={OPERATOR}", "--condition=None"
    assert accounts == [
        ["checkout@shop-1234.iam.gserviceaccount.com", member, role, unconditional],
        ["legacy@shop-1234.iam.gserviceaccount.com", member, role, unconditional],
        [
            "ledger-writer@ledger-1234.iam.gserviceaccount.com",
            member,
            "--role=roles/iam.serviceAccountUser",
            unconditional,
        ],
    ]
    assert "ledger-writer@ledger-1234" in ledger


def test_own_accounts_only_needs_manifests() -> None:
    result = CliRunner().invoke(cli, ["permissions", "--own-accounts-only"])
    assert result.exit_code == 2
    assert "add -f FILE" in result.output


def test_custom_roles_are_granted_with_a_warning_about_the_own_role() -> None:
    admitting = MANIFESTS.replace("grants: [%s]", 'customRoles: {permissions: ["run.*"]}')
    assert "# guardrails.customRoles: iam.roles.update" in printed("-f", "-", text=admitting)
    assert "roles.update" not in printed("-f", "-", text=MANIFESTS % "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "the file is not valid YAML"),
        ("", "there is no ManagedProject in -"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}", "there is no ManagedProject in -"),
        (MANIFESTS.replace("guardrails: {grants: [%s]}", "suspend: perhaps"), "spec.suspend: 'perhaps': "),
        (b"\xff\x00", "the file is not UTF-8 text"),
    ],
)
def test_invalid_file_is_an_error_of_one_line(text: str | bytes, says: str) -> None:
    output = refusal(text)
    assert says in output
    assert len(output.splitlines()) == 1
