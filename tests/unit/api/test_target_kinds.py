"""The table of target kinds against the published APIs, as the installed client libraries have them."""

import pytest

from cloudrun_identity.api import TARGET_KINDS, NamedBy, TargetKind, WorkloadKind, kinds_where
from cloudrun_identity.api.predefined_roles import ACTING_ROLES
from cloudrun_identity.gcp.permissions import FEATURES
from cloudrun_identity.gcp.ratelimit import Api
from cloudrun_identity_playground.emulator.wire.methods import library_methods

WITHOUT_CLIENT_LIBRARY = {TargetKind.SECRET}


def test_every_target_kind_has_a_descriptor() -> None:
    assert [descriptor.kind for descriptor in TARGET_KINDS.values()] == list(TargetKind)


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind not in WITHOUT_CLIENT_LIBRARY])
def test_methods_are_those_of_the_client_library(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    for verb in ("GetIamPolicy", "SetIamPolicy", "TestIamPermissions"):
        assert f"{descriptor.policy_service}/{verb}" in library_methods()
    assert descriptor.get_method in library_methods()


@pytest.mark.parametrize("kind", TargetKind)
def test_audit_methods_are_those_that_set_the_policy(kind: TargetKind) -> None:
    assert all(method.lower().endswith("setiampolicy") for method in TARGET_KINDS[kind].audit_methods)


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind not in WITHOUT_CLIENT_LIBRARY])
def test_unique_id_is_a_string_field_of_the_resource(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    message = library_methods()[descriptor.get_method].response.pb().DESCRIPTOR
    field = message.fields_by_number[descriptor.unique_id_field.number]
    assert field.json_name == descriptor.unique_id_field.name
    assert field.type == field.TYPE_STRING
    assert not descriptor.unique_id_field.is_time


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind not in WITHOUT_CLIENT_LIBRARY])
def test_get_request_has_the_resource_name_in_field_1(kind: TargetKind) -> None:
    request = library_methods()[TARGET_KINDS[kind].get_method].request.pb().DESCRIPTOR
    assert request.fields_by_number[1].name == "name"


@pytest.mark.parametrize("kind", TargetKind)
def test_some_feature_lists_the_permission_to_read_the_resource(kind: TargetKind) -> None:
    assert TARGET_KINDS[kind].read_permission in {each for listed in FEATURES.values() for each in listed}


@pytest.mark.parametrize("kind", TargetKind)
def test_host_has_a_rate_limit(kind: TargetKind) -> None:
    assert TARGET_KINDS[kind].host in set(Api)


@pytest.mark.parametrize("kind", TargetKind)
def test_feature_lists_the_permissions_of_the_kind(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    assert set(descriptor.permissions) <= set(FEATURES[descriptor.feature])


@pytest.mark.parametrize("kind", TargetKind)
def test_resource_pattern_has_the_parts_that_name_the_target(kind: TargetKind) -> None:
    descriptor = TARGET_KINDS[kind]
    assert descriptor.resource_pattern.startswith("projects/{project_id}")
    assert ("{name}" in descriptor.resource_pattern) == (descriptor.named_by is not NamedBy.PROJECT)
    assert (descriptor.name_form is not None) == (descriptor.named_by is NamedBy.NAME)


def test_kinds_with_special_properties() -> None:
    assert kinds_where(lambda kind: kind.is_regional) == tuple(map(TargetKind, WorkloadKind))
    assert kinds_where(lambda kind: kind.is_inherited) == (TargetKind.PROJECT,)
    assert kinds_where(lambda kind: kind.is_admitted_by_name_only) == (TargetKind.SECRET,)
    assert kinds_where(lambda kind: not kind.accepts_member_sets) == (TargetKind.SERVICE_ACCOUNT,)
    assert kinds_where(lambda kind: not kind.accepts_conditions) == (TargetKind.JOB, TargetKind.WORKER_POOL)
    assert TARGET_KINDS[TargetKind.SERVICE_ACCOUNT].default_roles == ACTING_ROLES
