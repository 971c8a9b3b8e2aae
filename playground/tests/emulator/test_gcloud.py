"""Unmodified gcloud with the setup of the documentation."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloudrun_identity_playground.emulator import Emulator, Seed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed"),
]

EMAIL = "checkout@shop.iam.gserviceaccount.com"
ANN = "--member=user:ann@example.com"
SEED = Seed.model_validate({"projects": [{"projectID": "shop", "secrets": [{"name": "stripe-key"}]}]})


@dataclass(frozen=True)
class Gcloud:
    """gcloud with an emulator; `home` separates its configuration from the user's."""

    emulator: Emulator
    home: Path

    async def __call__(self, command: str, *more: str) -> Any:
        """Run a command and return its JSON output, or None if it has none."""
        process = await asyncio.create_subprocess_exec(
            *("gcloud", *command.split(), *more, "--format=json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | self._environment,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, f"{command}: {errors.decode()}"
        return json.loads(output) if output.strip() else None

    @property
    def _environment(self) -> Mapping[str, str]:
        return {
            **documented(self.emulator.rest_url),
            "CLOUDSDK_CONFIG": str(self.home),
            "CLOUDSDK_CORE_PROJECT": "shop",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        }


def documented(rest_url: str) -> Mapping[str, str]:
    """Return the settings in the documentation."""
    page = (Path(__file__).parents[3] / "docs" / "reference" / "emulator.md").read_text(encoding="utf-8")
    section = page.partition("## gcloud")[2]
    [apis] = re.findall(r"for api in ([A-Z ]+); do", section)
    assert "CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true" in section
    return {
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{rest_url}/" for api in apis.split()},
    }


@pytest.fixture
async def gcloud(tmp_path: Path) -> AsyncIterator[Gcloud]:
    async with Emulator(seed=SEED, rest_port=0) as emulator:
        yield Gcloud(emulator, tmp_path / "gcloud")


async def test_service_account_life_cycle(gcloud: Gcloud) -> None:
    accounts, role = "iam service-accounts", "roles/iam.serviceAccountUser"
    await gcloud(f"{accounts} create checkout --display-name=Checkout")
    assert [each["email"] for each in await gcloud(f"{accounts} list")] == [EMAIL]
    await gcloud(f"{accounts} update {EMAIL} --description=Pays")
    await gcloud(f"{accounts} disable {EMAIL}")
    described = await gcloud(f"{accounts} describe {EMAIL}")
    assert (described["displayName"], described["description"]) == ("Checkout", "Pays")
    assert described["disabled"]
    await gcloud(f"{accounts} enable {EMAIL}")

    policy = await gcloud(f"{accounts} add-iam-policy-binding {EMAIL} --role={role} {ANN} --condition=None")
    assert policy["bindings"] == [{"role": role, "members": ["user:ann@example.com"]}]
    policy = await gcloud(
        f"{accounts} remove-iam-policy-binding {EMAIL} --role={role} {ANN} --condition=None"
    )
    assert "bindings" not in policy

    await gcloud(f"{accounts} delete {EMAIL}")
    restored = await gcloud(f"{accounts} undelete {described['uniqueId']}")
    assert restored["restoredAccount"]["email"] == EMAIL


async def test_keys_are_created_listed_and_deleted(gcloud: Gcloud, tmp_path: Path) -> None:
    keys, file = "iam service-accounts keys", tmp_path / "key.json"
    await gcloud("iam service-accounts create checkout")
    await gcloud(f"{keys} create {file} --iam-account={EMAIL}")
    assert json.loads(file.read_text())["client_email"] == EMAIL
    [key] = await gcloud(f"{keys} list --iam-account={EMAIL} --managed-by=user")
    await gcloud(f"{keys} delete {key['name'].rpartition('/')[2]} --iam-account={EMAIL}")
    assert await gcloud(f"{keys} list --iam-account={EMAIL} --managed-by=user") == []


async def test_project_policies_are_changed_and_projects_listed(gcloud: Gcloud) -> None:
    grant = f"--role=roles/run.developer {ANN} --condition=None"
    added = await gcloud(f"projects add-iam-policy-binding shop {grant}")
    shown = await gcloud("projects get-iam-policy shop")
    removed = await gcloud(f"projects remove-iam-policy-binding shop {grant}")
    assert added["bindings"] == [{"role": "roles/run.developer", "members": ["user:ann@example.com"]}]
    assert shown == added
    assert "bindings" not in removed
    assert [each["projectId"] for each in await gcloud("projects list")] == ["shop"]


async def test_custom_role_life_cycle(gcloud: Gcloud, tmp_path: Path) -> None:
    file = tmp_path / "role.yaml"
    file.write_text("title: Deployer\nstage: GA\nincludedPermissions: [run.services.update]\n")
    created = await gcloud(f"iam roles create deployer --project=shop --file={file}")
    assert created["includedPermissions"] == ["run.services.update"]
    updated = await gcloud("iam roles update deployer --project=shop --add-permissions=run.services.get")
    assert updated["includedPermissions"] == ["run.services.get", "run.services.update"]
    assert (await gcloud("iam roles delete deployer --project=shop"))["deleted"]
    assert "deleted" not in await gcloud("iam roles undelete deployer --project=shop")


async def test_a_role_is_granted_on_a_secret(gcloud: Gcloud) -> None:
    role = "roles/secretmanager.secretAccessor"
    policy = await gcloud(f"secrets add-iam-policy-binding stripe-key {ANN} --role={role} --condition=None")
    assert policy["bindings"] == [{"role": role, "members": ["user:ann@example.com"]}]


async def test_roles_are_listed_with_and_without_deleted_ones(gcloud: Gcloud) -> None:
    await gcloud("iam roles create deployer --project=shop --permissions=run.services.get")
    await gcloud("iam roles delete deployer --project=shop")

    assert await gcloud("iam roles list --project=shop") == []
    [deleted] = await gcloud("iam roles list --project=shop --show-deleted")
    assert (deleted["name"], deleted["deleted"]) == ("projects/shop/roles/deployer", True)
    predefined = {role["name"] for role in await gcloud("iam roles list")}
    assert {"roles/dataproc.worker", "roles/spanner.databaseUser"} < predefined


async def test_any_predefined_role_can_be_granted_on_a_project(gcloud: Gcloud) -> None:
    for role in ("roles/dataproc.worker", "roles/bigquery.admin", "roles/spanner.databaseUser"):
        policy = await gcloud(f"projects add-iam-policy-binding shop {ANN} --condition=None --role={role}")
        assert role in {binding["role"] for binding in policy["bindings"]}
