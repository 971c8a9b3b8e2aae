from __future__ import annotations

from datetime import timedelta

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud import run_v2 as run
from google.longrunning import operations_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from cloudrun_identity_playground.emulator import Emulator, Latency, Seed

from .clients import LOCATION, Clients, Clock, revision_template

WEB = f"{LOCATION}/services/web"


async def test_created_service_has_a_revision_and_the_default_account(clients: Clients) -> None:
    number = (await clients.projects.get_project(name="projects/shop")).name.removeprefix("projects/")
    service = await clients.create_service()

    assert service.name == WEB
    assert service.template.service_account == f"{number}-compute@developer.gserviceaccount.com"
    assert service.terminal_condition.state is run.Condition.State.CONDITION_SUCCEEDED
    assert (service.generation, service.observed_generation, service.reconciling) == (1, 1, False)
    assert service.latest_ready_revision == service.latest_created_revision
    assert service.latest_ready_revision.startswith(f"{WEB}/revisions/web-00001-")
    assert service.etag.startswith('"')
    assert service.etag.endswith('"')
    assert await clients.services.get_service(name=WEB) == service


async def test_traffic_statuses_mirror_the_traffic(clients: Clients) -> None:
    service = await clients.create_service()
    assert [(each.type_.name, each.percent, each.revision) for each in service.traffic_statuses] == [
        ("TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", 100, "")
    ]

    first = service.latest_ready_revision.rpartition("/")[2]
    pinned = run.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
    service.traffic = [run.TrafficTarget(type_=pinned, revision=first, percent=100)]
    service = await clients.update_service(service, "traffic")
    assert [each.revision for each in service.traffic_statuses] == [first]


async def test_change_of_the_account_creates_a_revision(clients: Clients) -> None:
    account = await clients.create_account()
    service = await clients.create_service()
    before = service.latest_ready_revision
    service.template.service_account = account.email
    service.template.timeout = "60s"  # not in the mask
    service = await clients.update_service(service, "template.service_account")

    assert service.template.service_account == account.email
    assert service.template.timeout.seconds == 300
    assert service.template.containers[0].image == "hello"
    assert (service.generation, service.observed_generation) == (2, 2)
    assert service.latest_ready_revision != before
    revision = await clients.revisions.get_revision(name=service.latest_ready_revision)
    assert revision.service_account == account.email
    assert len([each async for each in await clients.revisions.list_revisions(parent=WEB)]) == 2


async def test_update_outside_the_template_creates_no_revision(clients: Clients) -> None:
    service = await clients.create_service()
    service.labels["team"] = "shop"
    updated = await clients.update_service(service, "labels")

    assert updated.labels == {"team": "shop"}
    assert updated.latest_ready_revision == service.latest_ready_revision
    assert updated.etag != service.etag


async def test_update_without_mask_replaces_all_but_output_fields(clients: Clients) -> None:
    service = await clients.create_service()
    replacement = run.Service(name=WEB, template=revision_template(timeout="60s"), uid="mine", generation=9)
    updated = await clients.update_service(replacement)

    assert updated.template.timeout.seconds == 60
    assert (updated.uid, updated.generation) == (service.uid, 2)


async def test_stale_etag_aborts_and_missing_etag_overwrites(clients: Clients) -> None:
    stale = await clients.create_service()
    await clients.update_service(run.Service(name=WEB, labels={"a": "b"}), "labels")

    with pytest.raises(exceptions.Aborted):
        await clients.update_service(stale, "labels")
    stale.etag = ""
    assert (await clients.update_service(stale, "labels")).labels == {}


async def test_used_revision_name_must_be_cleared_in_the_update(clients: Clients) -> None:
    account = await clients.create_account()
    service = await clients.create_service(revision="web-v1")
    assert service.latest_ready_revision == f"{WEB}/revisions/web-v1"
    service.template.service_account = account.email
    with pytest.raises(exceptions.AlreadyExists, match="web-v1"):
        await clients.update_service(service, "template.service_account")

    service.template.revision = ""
    updated = await clients.update_service(service, "template.service_account", "template.revision")
    assert updated.template.service_account == account.email
    assert updated.template.revision == ""


async def test_an_unknown_mask_path_is_refused(clients: Clients) -> None:
    service = await clients.create_service()
    with pytest.raises(exceptions.InvalidArgument, match=r"template\.nonsense"):
        await clients.update_service(service, "template.nonsense")


async def test_missing_account_of_a_workload_is_forbidden(clients: Clients) -> None:
    await clients.create_account()
    missing = "missing@shop.iam.gserviceaccount.com"
    with pytest.raises(exceptions.PermissionDenied) as error:
        await clients.create_service(service_account=missing)
    assert missing in error.value.message

    service = await clients.create_service()
    service.template.service_account = missing
    with pytest.raises(exceptions.PermissionDenied):
        await clients.update_service(service, "template.service_account")


async def test_validate_only_changes_nothing(clients: Clients) -> None:
    request = run.CreateServiceRequest(
        parent=LOCATION,
        service_id="web",
        service=run.Service(template=revision_template()),
        validate_only=True,
    )
    await (await clients.services.create_service(request)).result()
    with pytest.raises(exceptions.NotFound):
        await clients.services.get_service(name=WEB)


async def test_allow_missing_creates(clients: Clients) -> None:
    request = run.UpdateServiceRequest(
        service=run.Service(name=WEB, template=revision_template()), allow_missing=True
    )
    assert (await (await clients.services.update_service(request)).result()).name == WEB
    with pytest.raises(exceptions.NotFound, match="of kind 'SERVICE' in region 'europe-west1'"):
        await clients.update_service(run.Service(name=f"{LOCATION}/services/other"))


async def test_list_needs_a_location(clients: Clients) -> None:
    await clients.create_service("web")
    await clients.create_service("api")
    listed = [each.name async for each in await clients.services.list_services(parent=LOCATION)]

    assert listed == [f"{LOCATION}/services/api", WEB]
    with pytest.raises(exceptions.InvalidArgument):
        await clients.services.list_services(parent="projects/shop/locations/-")


@pytest.mark.parametrize("location", ["europe-west11", "us-east", "moon"])
async def test_unknown_location_is_refused(clients: Clients, location: str) -> None:
    parent = f"projects/shop/locations/{location}"
    for call in (
        clients.services.list_services(parent=parent),
        clients.services.get_service(name=f"{parent}/services/web"),
        clients.executions.list_executions(parent=f"{parent}/jobs/-"),
    ):
        with pytest.raises(exceptions.PermissionDenied) as error:
            await call
        assert error.value.reason == "LOCATION_POLICY_VIOLATED"
        assert error.value.metadata["location"] == location


async def test_create_of_an_existing_service_is_refused(clients: Clients) -> None:
    await clients.create_service()
    with pytest.raises(exceptions.AlreadyExists):
        await clients.create_service()


async def test_deletion_of_a_service_removes_policy_and_revisions(clients: Clients) -> None:
    service = await clients.create_service()
    await clients.grant("roles/run.invoker", "allUsers", resource=WEB)
    await (await clients.services.delete_service(name=WEB)).result()
    with pytest.raises(exceptions.NotFound):
        await clients.services.get_service(name=WEB)
    with pytest.raises(exceptions.NotFound):
        await clients.revisions.get_revision(name=service.latest_ready_revision)

    await clients.create_service()
    assert not (await clients.policy(WEB)).bindings


async def test_project_number_and_id_address_the_same_service(clients: Clients) -> None:
    project = await clients.projects.get_project(name="projects/shop")
    await clients.create_service()
    found = await clients.services.get_service(name=WEB.replace("projects/shop", project.name))
    assert found.name == WEB


async def test_job_update_replaces_all_and_creates_no_revision(clients: Clients) -> None:
    account = await clients.create_account()
    job = await clients.create_job()
    assert job.template.template.max_retries == 3
    job.template.template.service_account = account.email
    updated = await (await clients.jobs.update_job(job=job)).result()

    assert updated.template.template.service_account == account.email
    assert updated.generation == 2
    with pytest.raises(exceptions.Aborted):
        await clients.jobs.update_job(job=job)


async def test_worker_pool_accepts_force_new_revision(clients: Clients) -> None:
    pool = await clients.create_worker_pool()
    request = run.UpdateWorkerPoolRequest(
        worker_pool=pool, update_mask=FieldMask(paths=["labels"]), force_new_revision=True
    )
    updated = await (await clients.worker_pools.update_worker_pool(request)).result()

    assert updated.latest_ready_revision != pool.latest_ready_revision
    assert [each.percent for each in updated.instance_split_statuses] == [100]


async def test_workload_records_creator_and_last_modifier(clients: Clients, emulator: Emulator) -> None:
    account = await clients.create_account()
    service = await clients.create_service()
    emulator.edit({"workload": f"//run.googleapis.com/{WEB}", "serviceAccount": account.email})
    edited = await clients.services.get_service(name=WEB)

    assert edited.last_modifier != service.last_modifier
    assert edited.creator == service.creator


class TestOperations:
    @pytest.fixture
    async def emulator(self, clock: Clock):
        async with Emulator(clock=clock) as running:
            running.switches.operation_time = timedelta(seconds=6)
            yield running

    async def test_operation_has_metadata_before_it_is_done(self, clients: Clients, clock: Clock) -> None:
        started = await clients.services.create_service(
            parent=LOCATION, service_id="web", service=run.Service(template=revision_template())
        )
        name = started.operation.name
        assert name.startswith(f"{LOCATION}/operations/")
        assert not started.operation.done
        assert started.metadata.terminal_condition.state is run.Condition.State.CONDITION_PENDING
        shown = await clients.services.get_service(name=WEB)
        assert shown.reconciling
        assert (shown.generation, shown.observed_generation) == (1, 0)
        assert not shown.latest_ready_revision

        clock.advance(6)
        done = await clients.services.get_operation(operations_pb2.GetOperationRequest(name=name))
        assert done.done
        result = run.Service.pb()()
        assert done.response.Unpack(result)
        assert run.Service.wrap(result) == await clients.services.get_service(name=WEB)

    async def test_concurrent_change_is_based_on_the_pending_one(
        self, clients: Clients, clock: Clock
    ) -> None:
        await clients.services.create_service(
            parent=LOCATION, service_id="web", service=run.Service(template=revision_template())
        )
        request = run.UpdateServiceRequest(
            service=run.Service(name=WEB, labels={"a": "b"}), update_mask=FieldMask(paths=["labels"])
        )
        await clients.services.update_service(request)
        clock.advance(6)
        service = await clients.services.get_service(name=WEB)

        assert service.latest_ready_revision
        assert service.labels == {"a": "b"}
        assert (service.generation, service.observed_generation) == (2, 2)

    async def test_deleted_service_is_readable_until_the_operation_is_done(
        self, clients: Clients, clock: Clock
    ) -> None:
        await clients.services.create_service(
            parent=LOCATION, service_id="web", service=run.Service(template=revision_template())
        )
        clock.advance(6)
        await clients.services.delete_service(name=WEB)
        assert (await clients.services.get_service(name=WEB)).delete_time

        clock.advance(6)
        with pytest.raises(exceptions.NotFound):
            await clients.services.get_service(name=WEB)

    async def test_an_unknown_operation_is_not_found(self, clients: Clients) -> None:
        with pytest.raises(exceptions.NotFound):
            await clients.services.get_operation(
                operations_pb2.GetOperationRequest(name=f"{LOCATION}/operations/none")
            )


async def test_recorded_latency_makes_operations_take_time(clock: Clock) -> None:
    async with (
        Emulator(seed=Seed(latency=Latency.RECORDED), clock=clock) as emulator,
        grpc.aio.insecure_channel(emulator.grpc_address) as channel,
    ):
        started = await Clients(channel).services.create_service(
            parent=LOCATION, service_id="web", service=run.Service(template=revision_template())
        )
        assert not started.operation.done


class TestMultiRegionService:
    """A service in `global` is deployed to each of its regions."""

    PARENT = LOCATION.replace("europe-west1", "global")
    EAST = LOCATION.replace("europe-west1", "us-east1")

    async def create(self, clients: Clients) -> run.Service:
        settings = run.Service.MultiRegionSettings(regions=["europe-west1", "us-east1"])
        service = run.Service(template=revision_template(), multi_region_settings=settings)
        operation = await clients.services.create_service(
            parent=self.PARENT, service_id="web", service=service
        )
        return await operation.result()

    async def test_each_region_has_a_service_of_the_name(self, clients: Clients) -> None:
        service = await self.create(clients)
        assert service.name == f"{self.PARENT}/services/web"
        for parent in (LOCATION, self.EAST):
            part = await clients.services.get_service(name=f"{parent}/services/web")
            assert part.multi_region_settings.multi_region_id == service.uid
            assert part.uid != service.uid
            assert part.latest_ready_revision.startswith(f"{parent}/services/web/revisions/")

    async def test_change_of_the_account_reaches_each_region(self, clients: Clients) -> None:
        account = await clients.create_account()
        service = await self.create(clients)
        service.template.service_account = account.email
        await clients.update_service(service, "template.service_account")
        for parent in (self.PARENT, LOCATION, self.EAST):
            part = await clients.services.get_service(name=f"{parent}/services/web")
            revision = await clients.revisions.get_revision(name=part.latest_ready_revision)
            assert revision.service_account == account.email

    async def test_deletion_removes_the_service_from_each_region(self, clients: Clients) -> None:
        await self.create(clients)
        await (await clients.services.delete_service(name=f"{self.PARENT}/services/web")).result()
        for parent in (self.PARENT, LOCATION, self.EAST):
            with pytest.raises(exceptions.NotFound):
                await clients.services.get_service(name=f"{parent}/services/web")

    async def test_jobs_are_not_multi_region(self, clients: Clients) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="'global' has no jobs; name a region"):
            await clients.jobs.list_jobs(parent=self.PARENT)
