"""Permissions to deploy to Cloud Run: actAs and image read of the deployer, tokens of the agent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.api_core import exceptions
from google.cloud import orgpolicy_v2 as orgpolicy
from google.cloud import run_v2 as run

from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import LOCATION, Clients, revision_template

ANN = "user:ann@example.com"
CHECKOUT = "checkout@shop.iam.gserviceaccount.com"
FOREIGN = "checkout@elsewhere.iam.gserviceaccount.com"
SignIn = Callable[[str], Clients]


@pytest.fixture
def ann(sign_in: SignIn) -> Clients:
    return sign_in(ANN)


async def denial(call: object) -> exceptions.PermissionDenied:
    with pytest.raises(exceptions.PermissionDenied) as error:
        await call
    return error.value


async def deploy(clients: Clients, account: str, image: str = "hello", name: str = "web") -> run.Service:
    template = run.RevisionTemplate(service_account=account, containers=[run.Container(image=image)])
    request = {"parent": LOCATION, "service_id": name, "service": run.Service(template=template)}
    return await (await clients.services.create_service(request)).result()


def account(email: str) -> str:
    return f"projects/{email.partition('@')[2].partition('.')[0]}/serviceAccounts/{email}"


async def agent_of(clients: Clients) -> str:
    """Return Cloud Run's service agent of the project with the workloads."""
    number = (await clients.projects.get_project(name="projects/shop")).name.partition("/")[2]
    return f"service-{number}@serverless-robot-prod.iam.gserviceaccount.com"


async def lift(clients: Clients, project: str) -> None:
    """Allow the use of a project's accounts in other projects."""
    name = f"projects/{project}/policies/iam.disableCrossProjectServiceAccountUsage"
    spec = orgpolicy.PolicySpec(rules=[orgpolicy.PolicySpec.PolicyRule(enforce=False)])
    policy = orgpolicy.Policy(name=name, spec=spec)
    await clients.org_policy.create_policy(parent=f"projects/{project}", policy=policy)


async def test_fact_missing_account_and_missing_act_as_are_the_same_403(
    clients: Clients, ann: Clients
) -> None:
    await clients.grant("roles/run.developer", ANN)
    missing = await denial(deploy(ann, CHECKOUT))
    await clients.create_account()
    forbidden = await denial(deploy(ann, CHECKOUT))
    assert (missing.message, missing.details) == (forbidden.message, forbidden.details)
    assert missing.message == (
        f"Permission 'iam.serviceaccounts.actAs' denied on service account {CHECKOUT} (or it may not exist)."
    )

    await clients.grant("roles/iam.serviceAccountUser", ANN, resource=account(CHECKOUT))
    assert (await deploy(ann, CHECKOUT)).template.service_account == CHECKOUT


async def test_default_account_needs_act_as_in_its_project(clients: Clients, ann: Clients) -> None:
    await clients.grant("roles/run.developer", ANN)
    assert "-compute@developer.gserviceaccount.com" in (await denial(ann.create_service())).message
    await clients.grant("roles/iam.serviceAccountUser", ANN)
    await ann.create_service()


async def test_update_needs_act_as_on_the_new_account(clients: Clients, ann: Clients) -> None:
    await clients.create_account()
    service = await clients.create_service()
    await clients.grant("roles/run.developer", ANN)
    service.template.service_account = CHECKOUT
    await denial(ann.update_service(service, "template.service_account"))
    await clients.grant("roles/iam.serviceAccountUser", ANN, resource=account(CHECKOUT))
    await ann.update_service(service, "template.service_account")


async def test_update_with_allow_missing_needs_create(clients: Clients, ann: Clients) -> None:
    updater = {"parent": "projects/shop", "role_id": "updater"}
    permissions = ["run.services.update", "iam.serviceAccounts.actAs"]
    await clients.iam.create_role({**updater, "role": {"included_permissions": permissions}})
    await clients.grant("projects/shop/roles/updater", ANN)
    service = run.Service(name=f"{LOCATION}/services/web", template=revision_template())
    request = run.UpdateServiceRequest(service=service, allow_missing=True)
    assert "run.services.create" in (await denial(ann.services.update_service(request))).message


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("europe-docker.pkg.dev/shop/images/app:1", "projects/shop/locations/europe/repositories/images"),
        ("gcr.io/shop/app@sha256:1", "projects/shop/locations/us/repositories/gcr.io"),
        ("eu.gcr.io/shop/team/app", "projects/shop/locations/europe/repositories/eu.gcr.io"),
    ],
)
async def test_fact_deployer_must_be_able_to_read_the_image(
    clients: Clients, ann: Clients, image: str, repository: str
) -> None:
    await clients.create_account()
    await clients.grant("roles/iam.serviceAccountUser", ANN)
    developer = {"parent": "projects/shop", "role_id": "developer"}
    permissions = ["run.services.create", "run.services.update", "run.operations.get"]
    await clients.iam.create_role({**developer, "role": {"included_permissions": permissions}})
    await clients.grant("projects/shop/roles/developer", ANN)

    message = (await denial(deploy(ann, CHECKOUT, image))).message
    assert "'artifactregistry.repositories.downloadArtifacts'" in message
    assert f"'{repository}'" in message
    # The changed field does not matter: any update reads the image.
    service = await deploy(clients, CHECKOUT, image)
    service.description = "another one"
    assert repository in (await denial(ann.update_service(service, "description"))).message

    await clients.grant("roles/artifactregistry.reader", ANN)
    await ann.update_service(service, "description")


async def test_images_from_elsewhere_need_no_permission(clients: Clients, ann: Clients) -> None:
    await clients.grant("roles/iam.serviceAccountUser", ANN)
    await clients.grant("roles/run.developer", ANN)
    await ann.create_service("hello")
    assert await deploy(ann, "", "us-docker.pkg.dev/cloudrun/container/hello", "public")


async def test_read_of_a_project_does_not_create_it(clients: Clients, ann: Clients) -> None:
    await clients.grant("roles/iam.serviceAccountUser", ANN)
    await clients.grant("roles/run.developer", ANN)
    image = "europe-docker.pkg.dev/pictures/images/app:1"

    number = (await clients.projects.get_project(name="projects/pictures")).name
    assert list((await clients.policy(number)).bindings) == []
    assert (
        list(
            (
                await ann.projects.test_iam_permissions(resource="projects/pictures", permissions=["a.b.c"])
            ).permissions
        )
        == []
    )
    assert await deploy(ann, "", image, "public")

    await clients.create_account(project="pictures")
    assert "downloadArtifacts" in (await denial(deploy(ann, "", image, "private"))).message


async def test_fact_cross_project_account_needs_all_three_parts(clients: Clients, ann: Clients) -> None:
    await clients.create_account(project="elsewhere")
    await clients.grant("roles/run.developer", ANN)
    agent = await agent_of(clients)

    assert "actAs" in (await denial(deploy(ann, FOREIGN))).message
    await clients.grant("roles/iam.serviceAccountUser", ANN, resource=account(FOREIGN))
    message = (await denial(deploy(ann, FOREIGN))).message
    assert agent in message
    assert "iam.serviceAccounts.getAccessToken" in message
    await clients.grant(
        "roles/iam.serviceAccountTokenCreator", f"serviceAccount:{agent}", resource=account(FOREIGN)
    )
    assert "actAs" in (await denial(deploy(ann, FOREIGN))).message
    await lift(clients, "elsewhere")
    assert (await deploy(ann, FOREIGN)).template.service_account == FOREIGN


@pytest.mark.parametrize("part", ["agent", "org policy"])
async def test_admin_does_not_replace_agent_and_organization_policy(clients: Clients, part: str) -> None:
    await clients.create_account(project="elsewhere")
    if part == "agent":
        await lift(clients, "elsewhere")
    else:
        agent = f"serviceAccount:{await agent_of(clients)}"
        await clients.grant("roles/iam.serviceAccountTokenCreator", agent, resource=account(FOREIGN))
    await denial(deploy(clients, FOREIGN))


async def test_jobs_and_worker_pools_need_the_same(clients: Clients, ann: Clients) -> None:
    await clients.create_account()
    await clients.grant("roles/run.developer", ANN)
    for deploying in (ann.create_job, ann.create_worker_pool):
        assert CHECKOUT in (await denial(deploying(service_account=CHECKOUT))).message
    await clients.grant("roles/iam.serviceAccountUser", ANN, resource=account(CHECKOUT))
    await ann.create_job(service_account=CHECKOUT)
    await ann.create_worker_pool(service_account=CHECKOUT)


def test_seeded_workloads_are_not_checked() -> None:
    seed = Seed.model_validate(
        {
            "projects": [
                {"projectID": "elsewhere", "serviceAccounts": [{"accountID": "checkout"}]},
                {
                    "projectID": "shop",
                    "services": [{"location": "europe-west1", "name": "web", "serviceAccount": FOREIGN}],
                },
            ]
        }
    )
    [web] = Emulator(seed=seed).cloud.workloads["services"]
    assert web.template.service_account == FOREIGN
