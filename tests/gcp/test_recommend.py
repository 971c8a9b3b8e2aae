"""`cloudrun-identity recommend` against an emulator: output, changed files and states."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.faults import Fault
from cloudrun_identity_playground.emulator.seed import Binding, Project, Seed, ServiceAccount, Workload

PROJECT = "shop-1234"
MEMBER = f"serviceAccount:checkout@{PROJECT}.iam.gserviceaccount.com"
OTHER = f"serviceAccount:billing@{PROJECT}.iam.gserviceaccount.com"
MARK = "google.cloud.recommender.v1.Recommender/MarkRecommendation"

MANIFESTS = """\
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop}
spec:
  projectID: shop-1234
  locations: [europe-west1]
  namespaces: {names: [payments]}
  guardrails:
    grants:
    - {roles: ["roles/storage.*", "roles/run.*"], targetKinds: [Project], members: [identities]}
---
# The identity of the checkout service.
apiVersion: cloudrun-identity.dev/v1alpha1
kind: CloudRunIdentity
metadata: {name: checkout, namespace: payments}
spec:
  projectRef: {name: shop}
  roles:
  - role: roles/storage.admin  # reads receipts
  - role: roles/run.viewer
"""


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    accounts = (ServiceAccount(account_id="checkout"), ServiceAccount(account_id="billing"))
    seed = Seed(
        projects=(
            Project(
                project_id=PROJECT,
                project_number="123456789012",
                service_accounts=accounts,
                services=(Workload(location="europe-west1", name="web", image="image"),),
                policy=(
                    Binding(role="roles/storage.admin", members=(MEMBER,)),
                    Binding(role="roles/run.viewer", members=(MEMBER, OTHER)),
                ),
            ),
        )
    )
    async with Emulator(seed=seed) as running:
        use(running, [MEMBER, OTHER], ["storage.objects.get"])
        yield running


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(MANIFESTS)
    return tmp_path


def use(emulator: Emulator, members: list[str], permissions: list[str]) -> None:
    used = dict.fromkeys(members, permissions)
    emulator.edit({"usage": f"projects/{PROJECT}", "used": used})


async def recommend(emulator: Emulator, *arguments: str) -> Result:
    command = ["recommend", f"--google-endpoint={emulator.grpc_address}", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, cli, command)


async def test_changes_are_printed_by_identity(emulator: Emulator, directory: Path) -> None:
    result = await recommend(emulator, "-f", str(directory))
    assert result.exit_code == 2, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "CloudRunIdentity payments/checkout"
    assert any(
        line.startswith("  ~ spec.roles[0]: roles/storage.admin → roles/storage.") and "1 of" in line
        for line in lines
    )
    assert "  - spec.roles[1]: roles/run.viewer: not used in 90 days" in lines
    assert f"{OTHER}: roles/run.viewer on project {PROJECT}" in lines
    assert any("--member=serviceAccount:billing@" in line for line in lines)
    assert any("web" in line and "should run as" in line for line in lines)
    assert lines[-1] == "Recommended: 2 changes, 1 other grant, 1 service on the default account."


async def test_yaml_has_the_changed_and_the_new_objects(emulator: Emulator, directory: Path) -> None:
    result = await recommend(emulator, "-f", str(directory), "-o", "yaml", "--custom-roles")
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(result.stdout)}
    role = found["CustomRole", "checkout-admin-used"]
    assert role["spec"]["permissions"] == ["storage.objects.get"]
    assert found["CloudRunIdentity", "checkout"]["spec"]["roles"] == [
        {"customRoleRef": {"name": "checkout-admin-used"}}
    ]
    assert {"CloudRunIdentity", "IdentityAttachment"} <= {kind for kind, name in found if "web" in name}
    assert "# Not admitted: guardrails.customRoles" in result.stdout


async def test_json_names_the_evidence(emulator: Emulator, directory: Path) -> None:
    result = await recommend(emulator, "-f", str(directory), "-o", "json")
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["result"] == "Recommendations"
    change = next(each for each in answer["changes"] if each["path"] == "spec.roles[0]")
    assert (change["usedPermissions"], change["state"]) == (["storage.objects.get"], "ACTIVE")


async def test_files_are_changed_in_place(emulator: Emulator, directory: Path) -> None:
    result = await recommend(emulator, "--apply-to", str(directory))
    assert result.exit_code == 2, result.output
    text = (directory / "shop.yaml").read_text()
    assert "# The identity of the checkout service." in text
    assert "# reads receipts" in text
    identity = list(yaml.safe_load_all(text))[1]
    [entry] = identity["spec"]["roles"]
    assert entry["role"] != "roles/storage.admin"
    new = list(yaml.safe_load_all((directory / "recommended.yaml").read_text()))
    assert [each["kind"] for each in new] == ["CloudRunIdentity", "IdentityAttachment"]
    assert not [rpc for rpc in emulator.calls if rpc.startswith(MARK) or "Set" in rpc]


async def test_change_that_guardrails_refuse_is_not_written(emulator: Emulator, directory: Path) -> None:
    result = await recommend(emulator, "--apply-to", str(directory), "--custom-roles")
    text = (directory / "shop.yaml").read_text()
    assert "roles/storage.admin  # reads receipts" in text
    assert "roles/run.viewer" not in text
    assert "left out: CloudRunIdentity payments/checkout spec.roles[0]" in result.stderr


async def test_applied_files_leave_nothing_to_change(emulator: Emulator, directory: Path) -> None:
    await recommend(emulator, "--apply-to", str(directory))
    result = await recommend(emulator, "-f", str(directory), "-o", "json")
    assert json.loads(result.stdout)["changes"] == []


async def test_mark_claims_what_is_printed(emulator: Emulator, directory: Path) -> None:
    for _ in range(2):
        await recommend(emulator, "-f", str(directory), "--mark", "claimed")
        assert emulator.calls[f"{MARK}Claimed"] == 3


async def test_mark_claims_only_what_is_applied(emulator: Emulator, directory: Path) -> None:
    result = await recommend(emulator, "--apply-to", str(directory), "--custom-roles", "--mark", "claimed")
    assert "left out: CloudRunIdentity payments/checkout spec.roles[0]" in result.stderr
    assert emulator.calls[f"{MARK}Claimed"] == 2


async def test_nothing_is_claimed_if_a_file_cannot_be_changed(emulator: Emulator, directory: Path) -> None:
    aliased = MANIFESTS.replace("- role: roles/run.viewer", "- &viewer {role: roles/run.viewer}\n  - *viewer")
    (directory / "shop.yaml").write_text(aliased)
    result = await recommend(emulator, "--apply-to", str(directory), "--mark", "claimed")
    assert result.exit_code == 1
    assert "change it by hand" in result.stderr
    assert emulator.calls[f"{MARK}Claimed"] == 0


async def test_claimed_recommendations_are_closed_once_their_grants_are_gone(
    emulator: Emulator, directory: Path
) -> None:
    await recommend(emulator, "--apply-to", str(directory), "--mark", "claimed")
    await recommend(emulator, "-f", str(directory), "--mark", "succeeded")
    assert emulator.calls[f"{MARK}Succeeded"] == 0
    gone = [{"role": role, "member": MEMBER} for role in ("roles/storage.admin", "roles/run.viewer")]
    emulator.edit({"policy": f"//cloudresourcemanager.googleapis.com/projects/{PROJECT}", "remove": gone})
    await recommend(emulator, "-f", str(directory), "--mark", "succeeded")
    assert emulator.calls[f"{MARK}Succeeded"] == 2


async def test_new_objects_go_to_the_next_free_file(emulator: Emulator, directory: Path) -> None:
    (directory / "recommended.yaml").write_text("# of the first run\n")
    result = await recommend(emulator, "--apply-to", str(directory))
    assert f"wrote {directory / 'recommended-2.yaml'}" in result.stderr
    assert (directory / "recommended.yaml").read_text() == "# of the first run\n"


async def test_empty_answer_is_no_evidence(emulator: Emulator) -> None:
    result = await recommend(emulator, "--project", "other-1234")
    assert (result.exit_code, result.stdout) == (
        0,
        "Google recommends nothing. It may not have observed enough yet.\n",
    )


async def test_refused_sources_are_unknown(emulator: Emulator, directory: Path) -> None:
    emulator.faults.add(Fault(method="google.cloud.recommender.*", code="PERMISSION_DENIED", times=2))
    result = await recommend(emulator, "-f", str(directory))
    assert result.exit_code == 2
    assert f"unknown: google.iam.policy.Recommender of {PROJECT}: " in result.stderr
    emulator.faults.add(Fault(method="google.cloud.recommender.*", code="PERMISSION_DENIED", times=99))
    assert (await recommend(emulator, "-f", str(directory))).exit_code == 1
