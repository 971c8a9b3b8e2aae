"""Resources without a target kind of their own, which an operator manages by their full resource names.

Sources. Names and services: the service configurations at https://github.com/googleapis/googleapis
(google/cloud/functions/v2/cloudfunctions_v2.yaml, google/cloud/eventarc/v1/eventarc_v1.yaml). Conditions:
https://cloud.google.com/iam/docs/resource-types-with-conditional-roles has neither. Public members: the
public may invoke a function (https://cloud.google.com/functions/docs/securing/managing-access-iam).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from cloudrun_identity.api import NamedBy, Reason, TargetKind, TargetKindDescriptor
from cloudrun_identity.api.target_descriptor import NameForm

_resource: Final[Callable[..., TargetKindDescriptor]] = partial(
    TargetKindDescriptor,
    kind=TargetKind.RESOURCE,
    policy_service="google.iam.v1.IAMPolicy",
    get_method="",
    missing_reason=Reason.WORKLOAD_NOT_FOUND,
    unique_id_field=None,
    audit_methods=("google.iam.v1.IAMPolicy.SetIamPolicy",),
    named_by=NamedBy.RESOURCE,
    name_form=NameForm("^[a-z]([-a-z0-9]*[a-z0-9])?$", "must be a-z, 0-9 and -", max_length=63),
    accepts_conditions=False,
    feature="",
)

GENERIC: Final = (
    _resource(
        display_name="function",
        host="cloudfunctions.googleapis.com",
        resource_pattern="projects/{project_id}/locations/{location}/functions/{name}",
        accepts_public_members=True,
        permission_prefix="cloudfunctions.functions",
    ),
    _resource(
        display_name="trigger",
        host="eventarc.googleapis.com",
        resource_pattern="projects/{project_id}/locations/{location}/triggers/{name}",
        accepts_public_members=False,
        permission_prefix="eventarc.triggers",
    ),
)
"""Descriptors of the resources that the emulator serves. Only their policy methods show their existence."""
