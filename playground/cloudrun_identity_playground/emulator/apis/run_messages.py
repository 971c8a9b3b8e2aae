"""Changes of a workload's message, as plain protobuf."""

from __future__ import annotations

from typing import Any

from google.cloud import run_v2 as run
from google.protobuf import field_mask_pb2

from cloudrun_identity_playground.emulator.errors import aborted, invalid

from .run_kinds import RunKind


def sent_in(request: Any, kind: RunKind) -> Any:
    """Return the workload in a request."""
    wrapped = getattr(request, kind.field)
    return type(wrapped).pb(wrapped)


def copy_of(workload: Any) -> Any:
    """Return a copy of a workload."""
    copy = type(workload)()
    copy.CopyFrom(workload)
    return copy


def merged(
    current: Any, sent: Any, mask: field_mask_pb2.FieldMask, kind: RunKind, default_account: str
) -> Any:
    """Return `current` with the fields in the mask, or without a mask with all that a caller can set.

    Raises GoogleError: INVALID_ARGUMENT, a field of the mask does not exist.
    """
    desired = copy_of(current)
    if mask.paths and list(mask.paths) != ["*"]:
        _check_mask(mask, desired)
        mask.MergeMessage(sent, desired, True, True)
    else:
        desired.CopyFrom(sent)
    _restore_output_only(desired, current, kind)
    kind.set_defaults(desired)
    template = kind.identity_template(desired)
    template.service_account = template.service_account or default_account
    return desired


def check_etag(sent: str, current: Any) -> None:
    """Check that the change is based on the current etag; a change without an etag is accepted.

    Raises GoogleError: ABORTED.
    """
    if sent and sent != current.etag:
        short_name = current.name.rpartition("/")[2]
        raise aborted(
            f"Conflict for resource '{short_name}': version '{sent}' was specified but current version is "
            f"'{current.etag}'."
        )


def settle(workload: Any, kind: RunKind) -> None:
    """Report that the latest change took effect."""
    workload.reconciling = False
    workload.observed_generation = workload.generation
    set_ready(workload, run.Condition.State.CONDITION_SUCCEEDED)
    del workload.conditions[:]
    for condition in kind.conditions:
        workload.conditions.add(
            type_=condition,
            state=run.Condition.State.CONDITION_SUCCEEDED,
            last_transition_time=workload.update_time,
        )
    if kind.settle is not None:
        kind.settle(workload)


def set_ready(workload: Any, state: int, message: str = "") -> None:
    """Report `state`, a `Condition.State`, as the result of the latest change."""
    workload.terminal_condition.CopyFrom(
        run.Condition.pb()(
            type_="Ready", state=state, message=message, last_transition_time=workload.update_time
        )
    )


def _restore_output_only(desired: Any, current: Any, kind: RunKind) -> None:
    kept = kind.message()
    field_mask_pb2.FieldMask(paths=kind.output_only).MergeMessage(current, kept)
    for field in kind.output_only:
        desired.ClearField(field)
    desired.MergeFrom(kept)


def _check_mask(mask: field_mask_pb2.FieldMask, workload: Any) -> None:
    for path in mask.paths:
        if not field_mask_pb2.FieldMask(paths=[path]).IsValidForDescriptor(workload.DESCRIPTOR):
            raise invalid(f"Invalid field mask path '{path}' of {workload.DESCRIPTOR.name}.")
