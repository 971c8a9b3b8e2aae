from dataclasses import replace
from typing import Any

import pytest
from google.cloud.run_v2 import types

from cloudrun_identity.api import (
    ConditionStatus,
    ConditionType,
    EffectiveCrossProjectUsage,
    ManagedProject,
    PreflightCheck,
    PreflightState,
    TargetKind,
)
from cloudrun_identity.controllers.cross_project import Account
from cloudrun_identity.controllers.identity_attachment.attachment import AttachmentWant
from cloudrun_identity.controllers.identity_attachment.preflight import (
    Preflight,
    all_passed,
    blocking_message,
    cross_project,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.permission_checks import AccessState
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.gcp.workloads import state_of
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Target
from tests.unit.controllers.attachments import OLD, ROLLED_OUT, want
from tests.unit.controllers.cloud import fault
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, identity, project, record

HOME = "payments-prod-1234"
OPERATOR = "operator@ops.iam.gserviceaccount.com"
AGENT = "service-417203958816@serverless-robot-prod.iam.gserviceaccount.com"
SERVICE = types.Service(
    template=types.RevisionTemplate(
        containers=[
            types.Container(
                image="europe-docker.pkg.dev/shop-1234/app/web:1",
                env=[
                    types.EnvVar(
                        value_source=types.EnvVarSource(
                            secret_key_ref=types.SecretKeySelector(secret="stripe-key")
                        )
                    ),
                    types.EnvVar(value="projects/shop-1234/topics/orders"),
                ],
            )
        ],
        volumes=[
            types.Volume(cloud_sql_instance=types.CloudSqlInstance(instances=[f"{HOME}:europe-west1:db"])),
            types.Volume(gcs=types.GCSVolumeSource(bucket="shop-assets")),
        ],
    )
)
STATE = state_of(ROLLED_OUT.workload, SERVICE)
BARE = state_of(ROLLED_OUT.workload, types.Service())
EXISTS = ServiceAccount(HOME, EMAIL, "111")
SHOP = """
kind: ManagedProject
metadata: {name: shop, uid: u-shop}
spec: {projectID: shop-1234, namespaces: {names: [payments]}}
status: {projectNumber: "42"}
"""
SECRETS = {
    "guardrails": {
        "grants": [
            {
                "roles": ["roles/secretmanager.secretAccessor"],
                "targetKinds": ["Secret"],
                "names": ["stripe-key", "tls-key"],
                "members": ["*"],
                "namespaces": ["payments"],
            },
            {
                "roles": ["roles/cloudsql.client"],
                "targetKinds": ["Project"],
                "members": ["identities"],
                "namespaces": ["payments"],
            },
        ]
    }
}
"""Guardrails with which the namespace may grant access to the secrets of the template."""
DELEGATED = FakeClusterState(project(**SECRETS), project(SHOP, **SECRETS), identity(), accounts=[record()])


class FakeCloud:
    """One account, and the permissions of every member: all but those in `hints`."""

    def __init__(self, account: ServiceAccount | GoogleError | None = EXISTS, **hints: AccessState) -> None:
        self._account = account
        self._hints = hints
        self.asked: list[tuple[str, str, tuple[Target, ...]]] = []
        self.missing: set[str] = set()
        self.conditions: set[str] = set()

    async def is_missing(self, target: Target) -> bool:
        return target.name in self.missing

    async def service_account(self, project_id: str, email: str, max_age: float) -> ServiceAccount | None:
        if isinstance(self._account, GoogleError):
            raise self._account
        return self._account

    async def operator_access(self, permission: str, target: Target, acting_in: str) -> AccessState:
        assert acting_in == HOME
        return self._answer("operator", permission, target)

    async def member_access(
        self, member: str, permission: str, *targets: Target, condition: str = ""
    ) -> AccessState:
        self.conditions.add(condition)
        return self._answer(member, permission, *targets)

    def _answer(self, who: str, permission: str, *targets: Target) -> AccessState:
        self.asked.append((who, permission, targets))
        return self._hints.get(permission.rpartition(".")[2], AccessState.GRANTED)


def operated(account: Account | None = None, cluster: FakeClusterState = DELEGATED) -> AttachmentWant:
    given = account or Account(EMAIL, HOME, DeclaredIdentity("payments", "checkout"), "payments-prod")
    return replace(want(cluster=cluster), account=given, operator=OPERATOR)


async def checks(
    cloud: Any, wanted: AttachmentWant | None = None, state: Any = STATE
) -> dict[str, PreflightCheck]:
    lines = await Preflight(cloud, cloud).check(wanted or operated(), state, 0.0)
    return {line.check: line for line in lines}


async def test_every_requirement_is_checked_and_passes_without_a_message() -> None:
    cloud = FakeCloud()
    lines = await checks(cloud)
    assert list(lines) == [
        *("Account", "ActAs", "Image"),
        *("Secrets", "CloudSQL", "Buckets", "Topics", "ImagePull"),
    ]
    assert all_passed(lines.values())
    assert not any(line.message for line in lines.values())
    secret = Target(TargetKind.SECRET, HOME, name="stripe-key")
    member = f"serviceAccount:{EMAIL}"
    own_project = Target(TargetKind.PROJECT, HOME)
    assert (member, "secretmanager.versions.access", (secret, own_project)) in cloud.asked


async def test_resources_that_the_template_omits_are_not_checked() -> None:
    assert list(await checks(FakeCloud(), state=BARE)) == ["Account", "ActAs"]


@pytest.mark.parametrize(
    ("account", "state", "text"),
    [
        (None, PreflightState.FAILED, "gcloud iam service-accounts create old --project=payments-prod-1234"),
        (
            replace(EXISTS, disabled=True),
            PreflightState.FAILED,
            f"gcloud iam service-accounts enable {OLD} --project=payments-prod-1234",
        ),
        (fault(Fault.PERMISSION_DENIED), PreflightState.UNKNOWN, "cannot be read"),
    ],
    ids=["missing", "disabled", "unreadable"],
)
async def test_only_a_missing_or_disabled_account_blocks_the_move(
    account: Any, state: PreflightState, text: str
) -> None:
    lines = await checks(FakeCloud(account), operated(Account(OLD, HOME)), BARE)
    assert lines["Account"].state is state
    assert text in (lines["Account"].message or "")
    assert bool(blocking_message(lines.values())) == (state is PreflightState.FAILED)


async def test_account_that_was_created_again_blocks_the_move() -> None:
    declared = Account(EMAIL, HOME, DeclaredIdentity("payments", "checkout"), unique_id="110")
    lines = await checks(FakeCloud(EXISTS), operated(declared), BARE)
    assert lines["Account"].state is PreflightState.FAILED
    assert "was deleted and created again" in (blocking_message(lines.values()) or "")


@pytest.mark.parametrize(
    ("permission", "check", "state", "remedy"),
    [
        (
            "actAs",
            "ActAs",
            PreflightState.FAILED,
            "CloudRunIdentity payments/checkout with spec "
            f"{{users: [{{principal: 'serviceAccount:{OPERATOR}'}}]}}",
        ),
        (
            "downloadArtifacts",
            "Image",
            PreflightState.UNKNOWN,
            f"gcloud projects add-iam-policy-binding shop-1234 --member=serviceAccount:{OPERATOR} "
            "--role=roles/artifactregistry.reader",
        ),
        (
            "access",
            "Secrets",
            PreflightState.FAILED,
            "an IAMBinding with spec {projectRef: {name: payments-prod}, target: {kind: Secret, name: "
            "stripe-key}, role: roles/secretmanager.secretAccessor, "
            "members: [{identityRef: {name: checkout}}]}",
        ),
        (
            "connect",
            "CloudSQL",
            PreflightState.FAILED,
            "CloudRunIdentity payments/checkout with spec {roles: [{role: roles/cloudsql.client, "
            "condition: {title: Cloud SQL instance db, expression: ",
        ),
        (
            "create",
            "Buckets",
            PreflightState.UNKNOWN,
            "guardrails.grants of ManagedProject payments-prod must admit roles/storage.objectUser on "
            "StorageBucket shop-assets for this namespace",
        ),
        (
            "publish",
            "Topics",
            PreflightState.UNKNOWN,
            "guardrails.grants of ManagedProject shop must admit roles/pubsub.publisher on PubSubTopic "
            "orders",
        ),
    ],
)
async def test_a_failed_check_names_the_remedy(
    permission: str, check: str, state: PreflightState, remedy: str
) -> None:
    lines = await checks(FakeCloud(**{permission: AccessState.NOT_GRANTED}))
    assert lines[check].state is state
    assert remedy in (lines[check].message or "")
    failed = [line.check for line in lines.values() if line.state is not PreflightState.PASSED]
    assert failed == (["Image", "ImagePull"] if check == "Image" else [check])
    assert not blocking_message(lines.values()), "advice, which blocks nothing"


async def test_a_cross_project_account_needs_the_service_agent_and_org_policy() -> None:
    account = Account(
        "pricing@shop-1234.iam.gserviceaccount.com",
        "shop-1234",
        DeclaredIdentity("shop", "pricing"),
        "shop",
        EffectiveCrossProjectUsage.DENIED,
    )
    wanted = operated(account)
    lines = await checks(FakeCloud(getAccessToken=AccessState.NOT_GRANTED), wanted, BARE)
    agent = lines["ServiceAgent"].message or ""
    assert AGENT in agent
    assert (
        "CloudRunIdentity shop/pricing with spec {usableFrom: [{projectRef: {name: payments-prod}}]}" in agent
    )
    policy = lines["OrgPolicy"].message or ""
    assert "ManagedProject shop with spec {crossProjectUsage: Allow}" in policy

    found = cross_project(wanted, lines.values())
    assert found
    finding = found[ConditionType.CROSS_PROJECT_READY]
    assert (finding.status, finding.reason) == (ConditionStatus.FALSE, "ServiceAgent")

    allowed = operated(replace(account, cross_project_usage=EffectiveCrossProjectUsage.ALLOWED))
    found = cross_project(allowed, (await checks(FakeCloud(), allowed, BARE)).values())
    assert found
    assert found[ConditionType.CROSS_PROJECT_READY].status is ConditionStatus.TRUE


async def test_an_attachment_within_a_project_has_no_cross_project_condition() -> None:
    assert cross_project(operated(), (await checks(FakeCloud())).values()) is None


async def test_remedies_for_undeclared_accounts_are_gcloud_commands() -> None:
    foreign = operated(Account("ci-deploy@elsewhere-1.iam.gserviceaccount.com", "elsewhere-1"))
    lines = await checks(
        FakeCloud(
            actAs=AccessState.NOT_GRANTED,
            getAccessToken=AccessState.NOT_GRANTED,
            connect=AccessState.NOT_GRANTED,
            access=AccessState.UNKNOWN,
        ),
        foreign,
    )
    for check, command in {
        "ActAs": "gcloud iam service-accounts add-iam-policy-binding ci-deploy@elsewhere-1",
        "ServiceAgent": "--role=roles/iam.serviceAccountTokenCreator --project=elsewhere-1",
        "OrgPolicy": "gcloud resource-manager org-policies disable-enforce",
        "CloudSQL": "guardrails.grants of ManagedProject payments-prod must admit roles/cloudsql.client",
        "Secrets": "members: [{principal: 'serviceAccount:ci-deploy@elsewhere-1",
    }.items():
        assert command in (lines[check].message or "")
    assert lines["Secrets"].state is PreflightState.UNKNOWN


@pytest.mark.parametrize(
    "shop",
    [None, project(SHOP, namespaces={"names": ["shop"]}), project(SHOP, suspend=True)],
    ids=["undeclared", "delegated to others", "suspended"],
)
async def test_a_template_discloses_nothing_about_undelegated_projects(shop: ManagedProject | None) -> None:
    """The author of the template would learn what another team's project grants."""
    there = (project(), identity(), *([shop] if shop else []))
    cloud = FakeCloud()
    lines = await checks(cloud, operated(cluster=FakeClusterState(*there, accounts=[record()])))
    assert lines["Topics"].state is PreflightState.UNKNOWN
    policies = {
        target.project_id for who, _, targets in cloud.asked if who != "operator" for target in targets
    }
    assert policies == {HOME}


@pytest.mark.parametrize("granted", [AccessState.NOT_GRANTED, AccessState.UNKNOWN])
async def test_a_template_discloses_nothing_about_secrets_of_others(granted: AccessState) -> None:
    """The author of the template would learn which secrets exist, and who may access them."""
    cluster = FakeClusterState(project(), identity(), accounts=[record()])
    cloud = FakeCloud(access=granted)
    cloud.missing = {"stripe-key"}
    secrets = (await checks(cloud, operated(cluster=cluster)))["Secrets"]
    assert secrets.state is PreflightState.UNKNOWN
    assert "ask the administrators of the project" in (secrets.message or "")
    assert "IAMBinding" not in (secrets.message or "")
    assert TargetKind.SECRET not in {target.kind for _, _, targets in cloud.asked for target in targets}


@pytest.mark.parametrize("admitted", [True, False])
async def test_policy_of_a_topic_is_read_only_if_the_guardrails_admit_it(admitted: bool) -> None:
    entry = {
        "roles": ["roles/pubsub.publisher"],
        "targetKinds": ["PubSubTopic"],
        "names": ["orders" if admitted else "mails"],
        "members": ["identities"],
        "namespaces": ["*"],
    }
    shop = project(SHOP, guardrails={"grants": [entry]})
    cluster = FakeClusterState(project(), shop, identity(), accounts=[record()])
    cloud = FakeCloud(access=AccessState.GRANTED)
    assert (await checks(cloud, operated(cluster=cluster)))["Topics"].state is PreflightState.PASSED
    asked = {target.kind for _, _, targets in cloud.asked for target in targets}
    assert (TargetKind.PUB_SUB_TOPIC in asked) == admitted


async def test_grant_with_the_condition_for_the_instance_passes_the_check() -> None:
    """A grant as it is proposed meets the need, although the operator does not evaluate conditions."""
    cloud = FakeCloud()
    await checks(cloud)
    assert any(f"projects/{HOME}/instances/db" in condition for condition in cloud.conditions)


async def test_several_missing_grants_name_the_command_that_proposes_all() -> None:
    volumes = [
        types.Volume(secret=types.SecretVolumeSource(secret=name)) for name in ("stripe-key", "tls-key")
    ]
    state = state_of(ROLLED_OUT.workload, types.Service(template=types.RevisionTemplate(volumes=volumes)))
    secrets = (await checks(FakeCloud(access=AccessState.NOT_GRANTED), state=state))["Secrets"]
    assert secrets.message
    assert "roles/secretmanager.secretAccessor on stripe-key, tls-key; apply an IAMBinding" in secrets.message
    assert secrets.message.endswith(
        "for all of them: cloudrun-identity suggest --project=payments-prod-1234 --location=europe-west1 "
        "service/checkout"
    )


async def test_key_of_the_workload_is_checked_for_the_service_agent() -> None:
    key = f"projects/{HOME}/locations/europe-west1/keyRings/run/cryptoKeys/images"
    service = types.Service(template=types.RevisionTemplate(encryption_key=key))
    cloud = FakeCloud()
    lines = await checks(cloud, state=state_of(ROLLED_OUT.workload, service))
    assert lines["EncryptionKey"].state is PreflightState.PASSED
    asked = {who for who, permission, _ in cloud.asked if permission.startswith("cloudkms.")}
    assert asked == {f"serviceAccount:{AGENT}"}


async def test_access_to_all_secrets_of_the_project_counts_for_secrets_of_others() -> None:
    cluster = FakeClusterState(project(), identity(), accounts=[record()])
    assert (await checks(FakeCloud(), operated(cluster=cluster)))["Secrets"].state is PreflightState.PASSED


async def test_no_binding_is_proposed_for_a_secret_that_does_not_exist() -> None:
    cloud = FakeCloud(access=AccessState.UNKNOWN)
    cloud.missing = {"stripe-key"}
    secrets = (await checks(cloud))["Secrets"]
    assert secrets.state is PreflightState.FAILED
    assert f"gcloud secrets create stripe-key --project={HOME}" in (secrets.message or "")
    assert "IAMBinding" not in (secrets.message or "")


async def test_a_project_is_also_delegated_by_its_number() -> None:
    secret = types.Volume(secret=types.SecretVolumeSource(secret="projects/42/secrets/tls-key"))
    service = types.Service(template=types.RevisionTemplate(volumes=[secret]))
    lines = await checks(FakeCloud(), state=state_of(ROLLED_OUT.workload, service))
    assert lines["Secrets"].state is PreflightState.PASSED
