"""`cloudrun-identity export` against an emulator."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli
from cloudrun_identity.exporting.survey import survey
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.faults import ErrorInfo, Fault
from cloudrun_identity_playground.emulator.seed import Binding, Project, Seed, ServiceAccount, Workload
from tests.gcp.conftest import Observer

DOMAIN = "shop-1234.iam.gserviceaccount.com"
ACCOUNTS = ("team-a-web", "team-a-jobs", "team-b-web", "deployer")
SEED = Seed(
    strict=True,
    projects=(
        Project(
            project_id="shop-1234",
            service_accounts=tuple(ServiceAccount(account_id=each) for each in ACCOUNTS),
            services=(
                Workload(
                    location="asia-south2",
                    name="team-a-web",
                    service_account=f"team-a-web@{DOMAIN}",
                    policy=(Binding(role="roles/run.invoker", members=("allUsers",)),),
                ),
            ),
            jobs=(
                Workload(location="us-east5", name="jobs", service_account=f"team-a-jobs@{DOMAIN}"),
                Workload(location="us-east5", name="by-default"),
            ),
            policy=(Binding(role="roles/viewer", members=("group:ops@example.com",)),),
        ),
        Project(project_id="empty-1234"),
    ),
)


async def exported(emulator: Emulator, *arguments: str) -> Result:
    command = ["export", "--project=shop-1234", f"--google-endpoint={emulator.grpc_address}", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, cli, command)


def files(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the time of modification of each file."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as emulator:
        yield emulator


async def test_all_locations_are_exported_and_those_in_use_are_listed(emulator: Emulator) -> None:
    result = await exported(emulator)

    project, *others = yaml.safe_load_all(result.stdout)
    assert project["spec"]["locations"] == ["asia-south2", "us-east5"]
    attached = [each["spec"]["workload"]["location"] for each in others if "workload" in each["spec"]]
    assert attached == ["us-east5", "asia-south2"]
    assert result.stderr.splitlines() == [
        "left out: Job us-east5/by-default: runs as the default account; run it as a dedicated account",
        "exported: 4 accounts, 0 custom roles, 2 workloads, 2 grants in 1 namespace",
        "not exported: 1",
        "  1: runs as the default account; run it as a dedicated account",
    ]


async def test_locations_can_be_named(emulator: Emulator) -> None:
    result = await exported(emulator, "--location=asia-south2")

    project = next(yaml.safe_load_all(result.stdout))
    assert project["spec"]["locations"] == ["asia-south2"]
    assert "1 workload," in result.stderr


async def test_second_export_writes_the_same_files(emulator: Emulator, tmp_path: Path) -> None:
    options = ("--namespace-by-prefix=team-a-=team-a", "--namespace=platform", f"--output={tmp_path}")
    first = await exported(emulator, *options)
    assert first.exit_code == 0, first.output
    written = files(tmp_path)

    again = await exported(emulator, *options)

    assert again.exit_code == 0, again.output
    assert files(tmp_path) == written
    assert sorted(written) == [
        "platform-bindings.yaml",
        "platform-identities.yaml",
        "project.yaml",
        "team-a-attachments.yaml",
        "team-a-bindings.yaml",
        "team-a-identities.yaml",
    ]


async def test_changed_files_are_overwritten_on_request_only(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text("mine")
    (tmp_path / "former.yaml").write_text("other")

    refused = await exported(emulator, f"--output={tmp_path}")
    assert refused.exit_code == 1
    assert "project.yaml already exists with another content; use --overwrite" in refused.stderr
    assert sorted(files(tmp_path)) == ["former.yaml", "project.yaml"]

    written = await exported(emulator, f"--output={tmp_path}", "--overwrite")
    assert written.exit_code == 0
    assert "former.yaml is not part of this export" in written.stderr
    assert "kind: ManagedProject" in (tmp_path / "project.yaml").read_text()


async def test_namespaces_are_read_from_a_file_before_prefixes(emulator: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "namespaces.yaml"
    file.write_text("team-a-web: web\n'*-web': others\n")

    result = await exported(
        emulator, f"--namespaces={file}", "--namespace-by-prefix=team-=teams", "--namespace=platform"
    )

    placed = {
        each["metadata"]["name"]: each["metadata"]["namespace"]
        for each in yaml.safe_load_all(result.stdout)
        if each["kind"] == "CloudRunIdentity"
    }
    assert placed == {
        "deployer": "platform",
        "team-a-jobs": "teams",
        "team-a-web": "web",
        "team-b-web": "others",
    }


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--namespace-by-prefix=team-a", "is not PREFIX=NS"),
        ("--namespace-by-prefix=team-a-=Team_A", "is not a namespace name"),
        ("--namespace=Team_A", "is not a namespace name"),
    ],
)
async def test_wrong_mapping_is_refused(option: str, text: str) -> None:
    result = CliRunner().invoke(cli, ["export", "--project=shop-1234", option])

    assert result.exit_code == 2
    assert text in result.stderr


async def test_hand_made_keys_are_mentioned(emulator: Emulator) -> None:
    clients = GoogleClients(emulator.grpc_address, Observer())
    key = await Keys(clients, time.monotonic).create("shop-1234", f"deployer@{DOMAIN}")
    await clients.close()

    result = await exported(emulator)

    note = f"note: ServiceAccount deployer@{DOMAIN} has 1 key made by hand: {key.key.key_id}"
    assert note in result.stderr
    assert f"# Keys made by hand: {key.key.key_id}." in result.stdout


async def test_project_without_cloud_run_is_exported() -> None:
    disabled = Fault(
        method="google.cloud.run.v2.*",
        code="PERMISSION_DENIED",
        error_info=ErrorInfo(reason="SERVICE_DISABLED", metadata={"service": "run.googleapis.com"}),
        times=1000,
    )
    async with Emulator(seed=SEED.model_copy(update={"faults": (disabled,)})) as emulator:
        result = await exported(emulator)

    assert result.exit_code == 0, result.output
    assert "note: Cloud Run is not enabled in project shop-1234: there are no workloads" in result.stderr


async def test_progress_names_what_is_read(emulator: Emulator) -> None:
    clients = GoogleClients(emulator.grpc_address, Observer(), read_only=True)
    shown: list[str] = []

    await survey(clients, "shop-1234", (), (), shown.append)

    await clients.close()
    assert "reading IAM policies: 8 of 8" in shown
