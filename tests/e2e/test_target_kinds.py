"""Test grants on every kind of target: all kinds in one scene, so that the steps wait once for all."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import yaml

from cloudrun_identity.api import TARGET_KINDS, TargetKind
from cloudrun_identity.iam.grants import Target
from cloudrun_identity_playground.emulator.apis.target_names import target_name
from tests.e2e.cluster import Object
from tests.e2e.eventually import becomes
from tests.e2e.scene import Scene
from tests.e2e.stage import FOLDER, ORGANIZATION
from tests.target_resources import DATA_KINDS, SERVICE, SUPPORTED_ROLES, declared, resource_of

GROUP, STRANGER = "group:ops@example.com", "user:ann@example.com"

GUARDRAILS = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  locations: []
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - roles: ["*"]
      targetKinds: %s
      services: [%s]
      names: ["*"]
      members: ["*"]
      allowEscalation: true
    - {roles: ["*"], targetKinds: [Folder], names: ["%s"], members: ["*"], namespaces: [$scene]}
    - {roles: ["*"], targetKinds: [Organization], names: ["%s"], members: ["*"], namespaces: [$scene]}
"""


def targets(scene: Scene) -> list[Target]:
    containers = {TargetKind.FOLDER: FOLDER, TargetKind.ORGANIZATION: ORGANIZATION}
    return [
        *(resource_of(kind, scene.name) for kind in DATA_KINDS),
        *(Target(kind, scene.name, name=each.partition("/")[2]) for kind, each in containers.items()),
    ]


def role_on(target: Target) -> str:
    return SUPPORTED_ROLES.get(target.kind, "roles/browser")


def manifest(target: Target, name: str, member: str) -> Object:
    return {
        "kind": "IAMBinding",
        "metadata": {"name": name},
        "spec": {
            "target": declared(target),
            "role": role_on(target),
            "members": [{"principal": member}],
        },
    }


def members(scene: Scene, asked: Iterable[Target]) -> Mapping[str, list[str]]:
    """Return the members of the role on each target, except those of other tests."""
    policies = scene.cloud.policies()

    def holders(target: Target) -> list[str]:
        found = target_name(target.resource, host=target.host)
        key = replace(found, project_id=scene.name).policy if found else target.resource
        bindings = policies.get(key, {}).get("bindings", ())
        return [
            each for binding in bindings if binding["role"] == role_on(target) for each in binding["members"]
        ]

    return {target.kind: holders(target) for target in asked}


def test_grants_on_each_kind_are_made_repaired_and_released(closed_scene: Scene) -> None:
    scene, cloud, everywhere = closed_scene, closed_scene.cloud, targets(closed_scene)
    granting = [f"IAMBinding/ops-{target.kind.lower()}" for target in everywhere]
    refused = [f"IAMBinding/refused-{target.kind.lower()}" for target in everywhere]
    for target in everywhere:
        if target.kind in DATA_KINDS:
            cloud.create_resource(target.full_name, scene.name)
        cloud.add(target.full_name, role_on(target), STRANGER)
    for service in {TARGET_KINDS[target.kind].policy_service for target in everywhere}:
        cloud.fail(f"{service}/SetIamPolicy", "ABORTED")
    numbers = (FOLDER.partition("/")[2], ORGANIZATION.partition("/")[2])
    scene.apply(GUARDRAILS % ([kind.value for kind in DATA_KINDS], SERVICE, *numbers))

    manifests = [
        manifest(target, name.partition("/")[2], member)
        for names, member in ((granting, GROUP), (refused, scene.member("nobody")))
        for target, name in zip(everywhere, names, strict=True)
    ]
    scene.apply(yaml.safe_dump_all(manifests))
    scene.ready(*granting)
    for name in refused:
        scene.fails(name, "Rejected")
    both = {target.kind: [STRANGER, GROUP] for target in everywhere}
    assert members(scene, everywhere) == both

    for target in everywhere:
        cloud.remove(target.full_name, role_on(target), GROUP)
    becomes(lambda: members(scene, everywhere), both)

    scene.delete_and_wait(*granting, *refused)
    assert members(scene, everywhere) == {target.kind: [STRANGER] for target in everywhere}
    for target in everywhere:
        cloud.remove(target.full_name, role_on(target), STRANGER)
