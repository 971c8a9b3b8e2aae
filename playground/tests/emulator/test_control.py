from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.api_core import exceptions

from cloudrun_identity_playground.emulator import Emulator, PortTakenError
from cloudrun_identity_playground.emulator.edit_errors import EditError

from .clients import LOCATION, Clients, members

PROJECT = "//cloudresourcemanager.googleapis.com/projects/shop"
ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
MEMBER = "serviceAccount:checkout@shop.iam.gserviceaccount.com"
EVE = {"role": "roles/viewer", "member": "user:eve@example.com"}
GET = "google.cloud.resourcemanager.v3.Projects/GetIamPolicy"


class Control:
    """The control API over HTTP; returns status and body."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/control"

    async def __call__(self, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
        text = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        async with self._session.request(verb, self._url + path, data=text) as response:
            return response.status, await response.json()


@pytest.fixture
async def control(emulator: Emulator) -> AsyncIterator[Control]:
    async with aiohttp.ClientSession() as session:
        yield Control(session, emulator.rest_url)


async def test_calls_are_shown_and_reset(control: Control, clients: Clients) -> None:
    await clients.policy()
    await clients.projects.get_iam_policy(
        resource="projects/shop", metadata=[("x-goog-request-reason", "payments/checkout@3")]
    )

    assert await control("GET", "/calls") == (200, {GET: 2})
    assert (await control("GET", "/log"))[1][0] == {
        "rpc": GET,
        "code": "OK",
        "reason": "",
        "caller": "operator@example.com",
    }
    _, of_payments = await control("GET", "/log?reason=payments/")
    assert [call["reason"] for call in of_payments] == ["payments/checkout@3"]
    assert await control("DELETE", "/calls") == (200, {})
    assert await control("GET", "/calls") == (200, {})


async def test_state_of_a_resource_includes_everything_below(control: Control, clients: Clients) -> None:
    for project in ("shop", "shop-2"):
        await clients.create_account(project=project)
        await clients.grant(EVE["role"], EVE["member"], resource=f"projects/{project}")
    await clients.grant("roles/iam.serviceAccountUser", EVE["member"], resource=ACCOUNT)

    _, of_project = await control("GET", "/state?under=projects/shop")
    _, of_account = await control("GET", f"/state?under={ACCOUNT}")

    assert list(of_project["projects"]) == ["shop"]
    assert list(of_project["policies"]) == ["projects/shop", ACCOUNT]
    assert [each["name"] for each in of_project["serviceAccounts"]] == [ACCOUNT]
    assert [each["name"] for each in of_account["serviceAccounts"]] == [ACCOUNT]
    assert list(of_account["policies"]) == [ACCOUNT]
    assert of_account["projects"] == {}


async def test_state_shows_everything_but_private_keys(control: Control, clients: Clients) -> None:
    account = await clients.create_account()
    key = await clients.iam.create_service_account_key(name=account.name)
    await clients.grant("roles/viewer", MEMBER)
    await clients.grant("roles/iam.serviceAccountUser", "user:ann@example.com", resource=ACCOUNT)
    service = await clients.create_service(service_account=account.email)
    await clients.create_job()
    _, state = await control("GET", "/state")

    assert list(state["projects"]) == ["shop"]
    [shown] = state["serviceAccounts"]
    assert (shown["email"], shown["deleted"]) == (account.email, False)
    assert [each["name"] for each in shown["keys"]] == [key.name]
    assert state["services"][service.name]["template"]["serviceAccount"] == account.email
    assert list(state["jobs"]) == [f"{LOCATION}/jobs/nightly"]
    assert list(state["revisions"]) == [service.latest_ready_revision]
    assert state["policies"]["projects/shop"]["bindings"] == [
        {"role": "roles/viewer", "members": [MEMBER], "boundTo": {MEMBER: account.unique_id}}
    ]
    assert ACCOUNT in state["policies"]
    assert "PRIVATE KEY" not in json.dumps(state)


class TestEdits:
    async def test_a_grant_is_removed_and_another_added(self, control: Control, clients: Clients) -> None:
        before = await clients.grant("roles/viewer", "user:ann@example.com", "user:bob@example.com")
        await control("DELETE", "/calls")
        answer = await control(
            "POST",
            "/edit",
            {
                "policy": PROJECT,
                "remove": [{"role": "roles/viewer", "member": "user:ann@example.com"}],
                "add": [{"role": "roles/browser", "member": "user:eve@example.com"}],
            },
        )

        assert answer == (200, {})
        assert await control("GET", "/calls") == (200, {})  # an edit does not count as a call
        after = await clients.policy()
        assert after.etag != before.etag
        assert members(after, "roles/viewer") == ["user:bob@example.com"]
        assert members(after, "roles/browser") == ["user:eve@example.com"]

    async def test_grants_differ_by_their_condition(self, clients: Clients, emulator: Emulator) -> None:
        grant = {"role": "roles/run.viewer", "member": "user:ann@example.com"}
        conditional = grant | {"condition": {"title": "nightly", "expression": "true"}}
        emulator.edit({"policy": PROJECT, "add": [grant, conditional]})
        emulator.edit({"policy": PROJECT, "remove": [grant]})

        assert [each.condition.title for each in (await clients.policy()).bindings] == ["nightly"]
        emulator.edit({"policy": PROJECT, "remove": [conditional]})
        assert not (await clients.policy()).bindings

    async def test_audit_configs_are_replaced(self, clients: Clients, emulator: Emulator) -> None:
        emulator.edit({"policy": PROJECT, "add": [EVE]})
        for service in ("storage.googleapis.com", "allServices"):
            config = {"service": service, "logTypes": ["DATA_READ"], "exemptedMembers": [EVE["member"]]}
            emulator.edit({"policy": PROJECT, "auditConfigs": [config]})

        policy = await clients.policy()
        assert members(policy, EVE["role"]) == [EVE["member"]]
        [audited] = policy.audit_configs
        assert audited.service == "allServices"
        assert [each.exempted_members for each in audited.audit_log_configs] == [[EVE["member"]]]

    async def test_policies_of_accounts_and_workloads_are_edited(
        self, clients: Clients, emulator: Emulator
    ) -> None:
        await clients.create_account()
        await clients.create_service("web")
        await clients.create_job("nightly")
        await clients.create_worker_pool("queue")
        for host, resource, role in (
            ("iam", ACCOUNT, "roles/iam.serviceAccountUser"),
            ("run", f"{LOCATION}/services/web", "roles/run.invoker"),
            ("run", f"{LOCATION}/jobs/nightly", "roles/run.invoker"),
            ("run", f"{LOCATION}/workerPools/queue", "roles/run.viewer"),
        ):
            grant = {"role": role, "member": "user:eve@example.com"}
            emulator.edit({"policy": f"//{host}.googleapis.com/{resource}", "add": [grant]})
            assert members(await clients.policy(resource), role) == ["user:eve@example.com"]

    async def test_unchecked_member_makes_later_writes_fail(self, control: Control, clients: Clients) -> None:
        ghost = {"role": "roles/viewer", "member": "serviceAccount:ghost@shop.iam.gserviceaccount.com"}
        assert await control("POST", "/edit", {"policy": PROJECT, "add": [ghost], "unchecked": True}) == (
            200,
            {},
        )

        left = await clients.policy()
        assert members(left, "roles/viewer") == [ghost["member"]]
        with pytest.raises(exceptions.InvalidArgument, match="ghost@shop"):
            await clients.set_policy(left)
        with pytest.raises(exceptions.InvalidArgument, match="ghost@shop"):
            await clients.grant("roles/browser", "user:ann@example.com")
        assert (await clients.policy()) == left

        assert (await control("POST", "/edit", {"policy": PROJECT, "remove": [ghost]}))[0] == 200
        assert await clients.grant("roles/browser", "user:ann@example.com")

    async def test_checked_edit_refuses_an_invalid_member(self, control: Control) -> None:
        ghost = {"role": "roles/viewer", "member": "serviceAccount:ghost@shop.iam.gserviceaccount.com"}
        await control("POST", "/edit", {"policy": PROJECT, "add": [EVE]})  # creates the project
        status, answer = await control("POST", "/edit", {"policy": PROJECT, "add": [ghost]})
        assert (status, answer["error"]) == (
            400,
            "Service account ghost@shop.iam.gserviceaccount.com does not exist.",
        )

    async def test_edit_deploys_a_revision_with_another_account(
        self, clients: Clients, emulator: Emulator
    ) -> None:
        account = await clients.create_account()
        service = await clients.create_service("web", revision="web-v1")
        await clients.create_job("nightly")
        await clients.create_worker_pool("queue")
        for workload in ("services/web", "jobs/nightly", "workerPools/queue"):
            emulator.edit(
                {"workload": f"//run.googleapis.com/{LOCATION}/{workload}", "serviceAccount": account.email}
            )

        moved = await clients.services.get_service(name=service.name)
        assert moved.template.service_account == account.email
        assert moved.latest_ready_revision != service.latest_ready_revision
        job = await clients.jobs.get_job(name=f"{LOCATION}/jobs/nightly")
        assert job.template.template.service_account == account.email
        pool = await clients.worker_pools.get_worker_pool(name=f"{LOCATION}/workerPools/queue")
        assert pool.template.service_account == account.email

    async def test_new_revisions_fail_to_start_until_reset(
        self, clients: Clients, emulator: Emulator
    ) -> None:
        account = await clients.create_account()
        service = await clients.create_service("web")
        name = f"//run.googleapis.com/{LOCATION}/services/web"
        emulator.edit({"workload": name, "failsToStart": "out of memory"})
        emulator.edit({"workload": name, "serviceAccount": account.email})

        failed = await clients.services.get_service(name=service.name)
        assert failed.terminal_condition.state.name == "CONDITION_FAILED"
        assert failed.terminal_condition.message.endswith("cannot serve traffic. out of memory")
        assert failed.latest_ready_revision == service.latest_ready_revision
        assert failed.latest_created_revision != service.latest_created_revision
        failed.template.timeout = "60s"
        with pytest.raises(exceptions.GoogleAPICallError, match="out of memory"):
            await clients.update_service(failed, "template.timeout")

        emulator.edit({"workload": name, "failsToStart": ""})
        emulator.edit({"workload": name, "serviceAccount": ""})
        ready = await clients.services.get_service(name=service.name)
        assert ready.latest_ready_revision == ready.latest_created_revision
        assert ready.terminal_condition.state.name == "CONDITION_SUCCEEDED"

    @pytest.mark.parametrize(
        "said", [{}, {"serviceAccount": "", "failsToStart": ""}], ids=["nothing", "both"]
    )
    async def test_workload_edit_needs_exactly_one_change(
        self, control: Control, said: dict[str, str]
    ) -> None:
        name = f"//run.googleapis.com/{LOCATION}/services/web"
        status, answer = await control("POST", "/edit", {"workload": name, **said})
        assert (status, answer["error"]) == (400, "workload: set either serviceAccount or failsToStart")

    @pytest.mark.parametrize("identified_by", ["email", "unique_id"])
    async def test_account_is_disabled_deleted_and_undeleted(
        self, clients: Clients, emulator: Emulator, identified_by: str
    ) -> None:
        account = await clients.create_account()
        name = f"//iam.googleapis.com/{ACCOUNT}"
        emulator.edit({"serviceAccount": name, "disable": True})
        assert (await clients.iam.get_service_account(name=ACCOUNT)).disabled
        emulator.edit({"serviceAccount": name, "enable": True})
        assert not (await clients.iam.get_service_account(name=ACCOUNT)).disabled
        emulator.edit({"serviceAccount": name, "delete": True})
        with pytest.raises(exceptions.NotFound):
            await clients.iam.get_service_account(name=ACCOUNT)

        identifier = getattr(account, identified_by)
        parent = "//iam.googleapis.com/projects/shop/serviceAccounts"
        emulator.edit({"serviceAccount": f"{parent}/{identifier}", "undelete": True})
        assert (await clients.iam.get_service_account(name=ACCOUNT)).unique_id == account.unique_id

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({}, "none of policy, workload, serviceAccount, usage, used, serviceAgent"),
            ({"policy": PROJECT}, "set remove, add or auditConfigs"),
            ({"policy": "projects/shop", "add": [EVE]}, "full resource name"),
            (
                {"policy": "//run.googleapis.com/projects/shop/locations/x/services", "add": [EVE]},
                "no IAM policy",
            ),
            ({"policy": PROJECT, "add": [{"role": "roles/viewer"}]}, "add.0.member"),
            ({"policy": PROJECT, "nonsense": 1}, "nonsense"),
            ({"policy": PROJECT, "add": [{"role": "roles/none", "member": "user:a@b.c"}]}, "roles/none"),
            ({"policy": PROJECT, "remove": [{"role": "roles/viewer", "member": "user:a@b.c"}]}, "user:a@b.c"),
            ({"workload": PROJECT, "serviceAccount": "a@b.c"}, "is not a Cloud Run"),
            (
                {"workload": f"//run.googleapis.com/{LOCATION}/services/none", "serviceAccount": "a@b.c"},
                "'none' of kind 'SERVICE'",
            ),
            ({"serviceAccount": f"//iam.googleapis.com/{ACCOUNT}"}, "one of delete, disable"),
            ({"serviceAccount": f"//iam.googleapis.com/{ACCOUNT}", "delete": True}, "Unknown"),
            ({"serviceAccount": f"//iam.googleapis.com/{ACCOUNT}", "undelete": True}, "no deleted account"),
        ],
    )
    async def test_invalid_edit_is_refused_in_one_line(
        self, control: Control, emulator: Emulator, change: dict[str, Any], named: str
    ) -> None:
        status, answer = await control("POST", "/edit", change)

        assert status == 400
        assert named in answer["error"]
        assert "\n" not in answer["error"]
        with pytest.raises(EditError):
            emulator.edit(change)

    @pytest.mark.parametrize("body", ["{", "[]", ""])
    async def test_body_that_is_not_a_json_object_is_refused(self, control: Control, body: str) -> None:
        status, answer = await control("POST", "/edit", body)
        assert status == 400
        assert answer["error"].startswith("the body is not")


class TestFaults:
    async def test_fault_is_injected_as_described(self, control: Control, clients: Clients) -> None:
        answer = await control(
            "POST",
            "/faults",
            {
                "method": GET,
                "code": "RESOURCE_EXHAUSTED",
                "times": 2,
                "message": "slow down",
                "errorInfo": {"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": "x"}},
            },
        )
        assert answer == (200, {})
        with pytest.raises(exceptions.ResourceExhausted, match="slow down") as error:
            await clients.policy()
        assert error.value.reason == "RATE_LIMIT_EXCEEDED"

        assert await control("DELETE", "/faults") == (200, {})
        assert await clients.policy() is not None

    @pytest.mark.parametrize(
        ("fault", "named"),
        [
            ({"code": "ABORTED"}, "method"),
            ({"method": GET, "code": "OK"}, "code"),
            ({"method": GET, "code": "NONSENSE"}, "code"),
            ({"method": GET, "code": "ABORTED", "times": 0}, "times"),
            ({"method": GET}, "set code or delay"),
        ],
    )
    async def test_invalid_fault_is_refused(
        self, control: Control, fault: dict[str, Any], named: str
    ) -> None:
        status, answer = await control("POST", "/faults", fault)
        assert status == 400
        assert named in answer["error"]


async def test_a_port_in_use_is_named(emulator: Emulator) -> None:
    port = int(emulator.grpc_address.rpartition(":")[2])
    with pytest.raises(PortTakenError, match=str(port)):
        async with Emulator(port=port):
            pass
    rest_port = int(emulator.rest_url.rpartition(":")[2])
    with pytest.raises(PortTakenError, match=str(rest_port)):
        async with Emulator(rest_port=rest_port):
            pass


async def test_tls_is_served_with_credentials() -> None:
    certificate, key = self_signed("localhost")
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    async with Emulator(credentials=credentials) as emulator:
        trust = grpc.ssl_channel_credentials(certificate)
        address = emulator.grpc_address.replace("127.0.0.1", "localhost")
        async with grpc.aio.secure_channel(address, trust) as channel:
            assert (await Clients(channel).projects.get_project(name="projects/shop")).project_id == "shop"


def self_signed(host: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), pem
