from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cloudrun_identity_playground.emulator import Emulator, Seed

pytestmark = pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")


async def gcloud(emulator: Emulator, directory: Path, *arguments: str) -> Any:
    """What the unmodified gcloud answers against the emulator."""
    process = await asyncio.create_subprocess_exec(
        "gcloud",
        *arguments,
        "--format=json",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ
        | {
            "CLOUDSDK_CONFIG": str(directory),
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_PROJECT": "shop",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM": f"{emulator.rest_url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": f"{emulator.rest_url}/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{emulator.rest_url}/",
        },
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


async def test_gcloud_creates_an_account_and_grants_it_a_role(emulator: Emulator, tmp_path: Path) -> None:
    await gcloud(emulator, tmp_path, "iam", "service-accounts", "create", "checkout")
    member = "serviceAccount:checkout@shop.iam.gserviceaccount.com"
    policy = await gcloud(
        emulator,
        tmp_path,
        *("projects", "add-iam-policy-binding", "shop", "--role=roles/run.developer"),
        *(f"--member={member}", "--condition=None"),
    )

    assert policy["bindings"] == [{"role": "roles/run.developer", "members": [member]}]


async def test_gcloud_grants_a_role_on_a_secret(tmp_path: Path) -> None:
    seed = Seed.model_validate({"projects": [{"projectID": "shop", "secrets": [{"name": "stripe-key"}]}]})
    async with Emulator(seed=seed, rest_port=0) as emulator:
        policy = await gcloud(
            emulator,
            tmp_path,
            *("secrets", "add-iam-policy-binding", "stripe-key", "--member=user:ann@example.com"),
            *("--role=roles/secretmanager.secretAccessor", "--condition=None"),
        )

    assert policy["bindings"] == [
        {"role": "roles/secretmanager.secretAccessor", "members": ["user:ann@example.com"]}
    ]
