"""Validation without an API server."""

import pytest
from pydantic import ValidationError

from cloudrun_identity.api import IAMBinding
from cloudrun_identity.api.validation import complaints, misfits


def binding(**spec: object) -> IAMBinding:
    whole = {
        "projectRef": {"name": "shop"},
        "target": {"kind": "Project"},
        "role": "roles/run.viewer",
        "members": [{"principal": "group:ops@example.com"}],
    }
    return IAMBinding.model_validate({"metadata": {"name": "x", "namespace": "y"}, "spec": whole | spec})


def test_valid_object_has_no_complaints() -> None:
    assert complaints(binding()) == []


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"role": "viewer"}, 'spec.role: "viewer": must be a role\'s full name'),
        ({"role": "roles/a\n"}, "spec.role: "),
        ({"members": [{"principal": "ops"}]}, 'spec.members[0].principal: "ops": must be user:EMAIL'),
        (
            {"members": [{"principal": "projectOwner:shop"}]},
            'spec.members[0].principal: "projectOwner:shop": must not be projectOwner:, projectEditor: or',
        ),
        (
            {"members": [{"principal": "deleted:user:ann@example.com?uid=1"}]},
            'spec.members[0].principal: "deleted:user:ann@example.com?uid=1": must not be a deleted',
        ),
        ({"members": [{}]}, "spec.members[0]: exactly one of principal, identityRef, cloudRunServiceAgentOf"),
        ({"customRoleRef": {"name": "x"}}, "spec: exactly one of role, customRoleRef must be set"),
        (
            {"target": {"kind": "ServiceAccount", "email": "ops@example.com"}},
            'spec.target.email: "ops@example.com": must be the e-mail of a service account',
        ),
    ],
)
def test_value_of_the_wrong_form_is_named_with_its_field(spec: dict[str, object], complaint: str) -> None:
    (line,) = complaints(binding(**spec))

    assert line.startswith(complaint)


@pytest.mark.parametrize(
    "principal",
    [
        "group:shop-prod.svc.id.goog:/allAuthenticatedUsers/",
        "serviceAccount:shop-prod.hub.id.goog[jobs/prefect]",
        "serviceAccount:example.com:shop.svc.id.goog[jobs/prefect]",
        "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/Ann Example",
        "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/group/A  B",
    ],
)
def test_members_of_pools_are_valid(principal: str) -> None:
    assert complaints(binding(members=[{"principal": principal}])) == []


@pytest.mark.parametrize(
    "principal",
    [
        "group:shop-prod.svc.id.goog:/allauthenticatedusers/",
        "group:shop-prod.svc.id.goog:/x/",
        "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/ann ",
        "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/ann\tb",
        "serviceAccount:shop-prod.hub.id.goog[*/prefect]",
    ],
)
def test_members_of_pools_in_other_forms_are_refused(principal: str) -> None:
    assert len(complaints(binding(members=[{"principal": principal}]))) == 1


@pytest.mark.parametrize(
    ("spec", "misfit"),
    [
        ({"authority": "x" * 300}, "spec.authority: 'xxxx"),
        ({"members": [{"principal": 3}]}, "spec.members[0].principal: 3: Input should be a valid string"),
        ({"target": {"kind": []}}, "spec.target.kind: Input should be"),
    ],
)
def test_value_of_the_wrong_type_is_named_and_shown_if_short(spec: dict[str, object], misfit: str) -> None:
    with pytest.raises(ValidationError) as raised:
        binding(**spec)

    line = misfits(raised.value)[0]

    assert line.startswith(misfit)
    assert len(line) < 400
