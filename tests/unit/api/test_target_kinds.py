"""The table of target kinds against the published APIs, as the client libraries have them.

The libraries of some kinds are not dependencies. `published_methods.json` contains what was read from their
packages.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cloudrun_identity.api import TARGET_KINDS, NamedBy, TargetKind, WorkloadKind, kinds_where
from cloudrun_identity.api.predefined_roles import ACTING_ROLES
from cloudrun_identity.gcp.permissions import ABOVE_PROJECTS, FEATURES
from cloudrun_identity.gcp.ratelimit import DEFAULT_RATES, Api, CallKind
from cloudrun_identity.iam.role_catalog import known_permissions
from cloudrun_identity_playground.emulator.wire.methods import library_methods

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "target-kinds.md"
PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parent / "published_methods.json").read_text())
ALL_FEATURES = {**FEATURES, **ABOVE_PROJECTS}
WITHOUT_CLIENT_LIBRARY = {
    kind for kind, descriptor in TARGET_KINDS.items() if descriptor.get_method in PUBLISHED
}
OF_ONE_API = [kind for kind in TargetKind if kind is not TargetKind.RESOURCE]
WITH_CLIENT_LIBRARY = [kind for kind in OF_ONE_API if kind not in WITHOUT_CLIENT_LIBRARY]


def test_every_target_kind_has_a_descriptor() -> None:
    assert [descriptor.kind for descriptor in TARGET_KINDS.values()] == list(TargetKind)


@pytest.mark.parametrize("kind", WITH_CLIENT_LIBRARY)
def test_methods_are_those_of_the_client_library(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    for verb in ("GetIamPolicy", "SetIamPolicy", "TestIamPermissions"):
        assert f"{descriptor.policy_service}/{verb}" in library_methods()
    assert descriptor.get_method in library_methods()


@pytest.mark.parametrize("kind", sorted(WITHOUT_CLIENT_LIBRARY))
def test_methods_and_routing_are_those_of_the_published_package(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    published = PUBLISHED[descriptor.get_method]
    assert descriptor.host == published["host"]
    assert descriptor.policy_service == published["policyService"]
    assert descriptor.routing_parameter == published["policyRouting"]
    assert descriptor.get_routing_parameter == published["getRouting"]


@pytest.mark.parametrize("kind", sorted(WITHOUT_CLIENT_LIBRARY))
def test_fields_are_those_of_the_published_message(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    fields = PUBLISHED[descriptor.get_method]["resourceFields"]
    unique_id = descriptor.unique_id_field
    assert ("create_time" in fields) == (unique_id is not None)
    if unique_id:
        assert (unique_id.name, unique_id.is_time) == ("createTime", True)
        assert fields["create_time"] == [unique_id.number, "time"]
    if descriptor.project_number_field is not None:
        assert fields["project"] == [descriptor.project_number_field, "string"]


@pytest.mark.parametrize("kind", TargetKind)
def test_audit_methods_are_those_that_set_the_policy(kind: TargetKind) -> None:
    set_policy = ("setiampolicy", "setiampermissions")
    assert all(method.lower().endswith(set_policy) for method in TARGET_KINDS[kind].audit_methods)


@pytest.mark.parametrize("kind", WITH_CLIENT_LIBRARY)
def test_unique_id_is_a_string_field_of_the_resource(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    assert descriptor.unique_id_field
    message = library_methods()[descriptor.get_method].response.pb().DESCRIPTOR
    field = message.fields_by_number[descriptor.unique_id_field.number]
    assert field.json_name == descriptor.unique_id_field.name
    assert field.type == field.TYPE_STRING
    assert not descriptor.unique_id_field.is_time


@pytest.mark.parametrize("kind", WITH_CLIENT_LIBRARY)
def test_get_request_has_the_resource_name_in_field_1(kind: TargetKind) -> None:
    request = library_methods()[TARGET_KINDS[kind].get_method].request.pb().DESCRIPTOR
    assert request.fields_by_number[1].name == "name"


@pytest.mark.parametrize("kind", OF_ONE_API)
def test_some_feature_lists_the_permission_to_read_the_resource(kind: TargetKind) -> None:
    assert TARGET_KINDS[kind].read_permission in {each for listed in ALL_FEATURES.values() for each in listed}


@pytest.mark.parametrize("kind", OF_ONE_API)
def test_host_has_a_rate_limit(kind: TargetKind) -> None:
    assert {(Api(TARGET_KINDS[kind].host), call) for call in CallKind} <= DEFAULT_RATES.keys()


@pytest.mark.parametrize("kind", OF_ONE_API)
def test_feature_lists_the_permissions_of_the_kind(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    assert set(descriptor.permissions) <= set(ALL_FEATURES[descriptor.feature])


@pytest.mark.parametrize("kind", TargetKind)
def test_resource_pattern_has_the_parts_that_name_the_target(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    pattern = descriptor.resource_pattern
    assert ("{project_id}" in pattern) != (
        descriptor.contains_projects or descriptor.project_number_field is not None
    )
    assert ("{name}" in pattern) == (descriptor.named_by is not NamedBy.PROJECT)
    assert ("{parent}" in pattern) == (descriptor.parent is not None)
    assert (descriptor.name_form is not None) == (descriptor.named_by is NamedBy.NAME)
    assert ("{location}" in descriptor.regional_host) == bool(descriptor.regional_host)


@pytest.mark.parametrize("kind", OF_ONE_API)
def test_permissions_of_the_kind_exist(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    assert {*descriptor.permissions, descriptor.read_permission} <= known_permissions()


def test_generic_kind_is_served_as_the_published_packages_serve_it() -> None:
    generic, published = TARGET_KINDS[TargetKind.RESOURCE], PUBLISHED["google.iam.v1.IAMPolicy"]
    assert published["policyService"] == generic.policy_service
    assert published["policyRouting"] == generic.routing_parameter
    assert published["host"] not in {descriptor.host for descriptor in TARGET_KINDS.values()}


def test_kinds_with_special_properties() -> None:
    own = (TargetKind.PROJECT, TargetKind.SERVICE_ACCOUNT, *map(TargetKind, WorkloadKind))
    containers = (TargetKind.FOLDER, TargetKind.ORGANIZATION)
    assert kinds_where(lambda kind: not kind.is_admitted_by_name_only) == own
    assert kinds_where(lambda kind: kind.contains_projects) == containers
    inherited = (TargetKind.PROJECT, *containers, TargetKind.RESOURCE)
    assert kinds_where(lambda kind: kind.is_inherited) == inherited
    assert kinds_where(lambda kind: not kind.accepts_member_sets) == (TargetKind.SERVICE_ACCOUNT,)
    assert kinds_where(lambda kind: not kind.accepts_conditions) == (
        TargetKind.JOB,
        TargetKind.WORKER_POOL,
        TargetKind.PUB_SUB_TOPIC,
        TargetKind.PUB_SUB_SUBSCRIPTION,
        TargetKind.ARTIFACT_REGISTRY_REPOSITORY,
        TargetKind.CLOUD_TASKS_QUEUE,
    )
    assert TARGET_KINDS[TargetKind.SERVICE_ACCOUNT].default_roles == ACTING_ROLES
    assert kinds_where(lambda kind: bool(kind.default_roles)) == own[1:]


@pytest.mark.parametrize("kind", TargetKind)
def test_documentation_has_the_fields_of_the_kind(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    [row] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{kind}` |")]
    _, _, fields, conditions, public, _ = row.split("|")
    if descriptor.named_by is NamedBy.NAME:
        parent = [descriptor.parent.name] if descriptor.parent else []
        named = [*(["location"] if descriptor.has_location else []), *parent, "name"]
        assert re.findall(r"`(\w+)`", fields) == named
    assert conditions.strip().startswith("yes") == descriptor.accepts_conditions
    assert (public.strip() == "yes") == descriptor.accepts_public_members
