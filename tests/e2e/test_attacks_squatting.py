"""Attack names: declare first what is meant for another namespace."""

import pytest

from tests.e2e.eventually import becomes
from tests.e2e.tenants import ATTACH, Tenants

WEB = "IdentityAttachment/web"
OWN_WEB = "{kind: IdentityAttachment, metadata: {name: web}, spec: %s}" % (
    ATTACH % ("checkout", "{name: checkout}")
)
NOT_ADMITTED = "iam.serviceAccounts.getAccessToken"


def admit_roles(tenants: Tenants) -> None:
    scene = tenants.scene
    scene.patch(
        f"ManagedProject/{scene.name}",
        'spec: {guardrails: {customRoles: {permissions: ["run.*"], namespaces: ["*"]}}}',
    )


@pytest.mark.parametrize("suspend", ["false", "true"], ids=["denied", "suspended"])
def test_attachment_to_a_workload_of_others_holds_up_nobody(tenants: Tenants, suspend: str) -> None:
    scene = tenants.scene
    spec = (ATTACH % ("checkout", "{name: mallory}")).replace(
        "{workload", f"{{suspend: {suspend}, workload", 1
    )
    squatter = tenants.apply("IdentityAttachment", spec, f"web-{suspend}")
    told = ("Suspended", "") if suspend == "true" else ("DeniedByGuardrail", "guardrails.workloads")
    refused(tenants, squatter, told)

    scene.apply(OWN_WEB)
    scene.ready(WEB)
    assert scene.cloud.runs_as(scene.service("checkout")) == scene.email("checkout")
    refused(tenants, squatter, told)


def test_resumed_squatter_does_not_take_the_workload(tenants: Tenants) -> None:
    scene = tenants.scene
    spec = (ATTACH % ("mallory-web", "{name: mallory}")).replace("{workload", "{suspend: true, workload", 1)
    older = tenants.apply("IdentityAttachment", spec, "older")
    scene.fails(older, "Suspended", namespace=tenants.mallory)
    younger = tenants.apply("IdentityAttachment", ATTACH % ("mallory-web", "{name: mallory}"), "younger")
    scene.ready(younger, namespace=tenants.mallory)

    scene.patch(older, "spec: {suspend: false}", namespace=tenants.mallory)
    message = scene.fails(older, "Conflict", namespace=tenants.mallory)
    assert f"IdentityAttachment {tenants.mallory}/younger" in message, "it is of the same namespace"
    scene.ready(younger, namespace=tenants.mallory)


@pytest.mark.parametrize("how", ["suspended", "not admitted"])
def test_identity_that_cannot_be_served_holds_up_nobody(tenants: Tenants, how: str) -> None:
    scene = tenants.scene
    name = how.replace(" ", "-")
    hindrance = "suspend: true" if how == "suspended" else "adoption: Adopt"
    squatter = tenants.apply("CloudRunIdentity", f"{{accountID: {name}, {hindrance}}}", f"squatter-{name}")
    told = ("Suspended", "") if how == "suspended" else ("DeniedByGuardrail", "adoptableAccounts")
    refused(tenants, squatter, told)

    scene.apply(f"{{kind: CloudRunIdentity, metadata: {{name: {name}}}}}")
    scene.ready(f"CloudRunIdentity/{name}")
    if how == "suspended":
        scene.patch(squatter, "spec: {suspend: false}", namespace=tenants.mallory)
        message = scene.fails(squatter, "Conflict", namespace=tenants.mallory)
        assert "another namespace" in message
        assert scene.name not in message.replace(tenants.mallory, "")
    scene.ready(f"CloudRunIdentity/{name}")


@pytest.mark.parametrize("how", ["suspended", "denied"])
def test_custom_role_that_cannot_be_served_holds_up_nobody(tenants: Tenants, how: str) -> None:
    scene = tenants.scene
    admit_roles(tenants)
    permission = "run.jobs.run" if how == "suspended" else NOT_ADMITTED
    suspend = str(how == "suspended").lower()
    squatter = tenants.apply("CustomRole", role(how, permission, suspend), f"squatter-{how}")
    told = ("Suspended", "") if how == "suspended" else ("DeniedByGuardrail", NOT_ADMITTED)
    refused(tenants, squatter, told)

    scene.apply(f"{{kind: CustomRole, metadata: {{name: {how}}}, spec: {role(how, 'run.jobs.get')}}}")
    scene.ready(f"CustomRole/{how}")
    assert permissions(tenants, how) == ["run.jobs.get"]
    if how == "denied":
        return
    scene.patch(squatter, "spec: {suspend: false}", namespace=tenants.mallory)
    message = scene.fails(squatter, "Conflict", namespace=tenants.mallory)
    assert "another namespace" in message
    assert f"{scene.name}/{how}" not in message
    becomes(lambda: permissions(tenants, how), ["run.jobs.get"])


def refused(tenants: Tenants, name: str, told: tuple[str, str]) -> None:
    """Wait until an object of Mallory is refused for this reason, with a text in the message."""
    reason, saying = told
    tenants.scene.fails(name, reason, saying=saying, namespace=tenants.mallory)


def role(role_id: str, permission: str, suspend: str = "false") -> str:
    return f"{{suspend: {suspend}, roleID: {role_id}, permissions: [{permission}]}}"


def permissions(tenants: Tenants, role_id: str) -> list[str]:
    found = tenants.scene.cloud.role(f"projects/{tenants.scene.name}/roles/{role_id}")
    assert found is not None
    return list(found["includedPermissions"])
