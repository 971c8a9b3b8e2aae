"""Organization Policy v2: custom constraints. They are stored, not enforced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from google.cloud import orgpolicy_v2 as orgpolicy
from google.protobuf import empty_pb2, timestamp_pb2

from cloudrun_identity_playground.emulator.errors import already_exists, invalid, not_found

from .paging import page, page_size
from .rpc import serves

_NAME = re.compile(r"(organizations/\d+)/customConstraints/custom\.[A-Za-z0-9]{1,62}")


class CustomConstraints:
    """The custom constraints of `google.cloud.orgpolicy.v2.OrgPolicy`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._constraints: dict[str, orgpolicy.CustomConstraint] = {}

    def all(self) -> Iterable[orgpolicy.CustomConstraint]:
        """Return all custom constraints."""
        return self._constraints.values()

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/CreateCustomConstraint")
    def create(self, request: orgpolicy.CreateCustomConstraintRequest) -> orgpolicy.CustomConstraint:
        """Create a constraint."""
        name = request.custom_constraint.name
        match = _NAME.fullmatch(name)
        if match is None or match[1] != request.parent:
            raise invalid(f"Invalid custom constraint name '{name}' of '{request.parent}'.")
        if name in self._constraints:
            raise already_exists(f"The custom constraint '{name}' already exists.")
        return self._store(request.custom_constraint)

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/GetCustomConstraint")
    def get(self, request: orgpolicy.GetCustomConstraintRequest) -> orgpolicy.CustomConstraint:
        """Return a constraint."""
        return self._find(request.name)

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/ListCustomConstraints")
    def list(
        self, request: orgpolicy.ListCustomConstraintsRequest
    ) -> orgpolicy.ListCustomConstraintsResponse:
        """List the constraints of an organization."""
        prefix = f"{request.parent}/customConstraints/"
        mine = {name: each for name, each in self._constraints.items() if name.startswith(prefix)}
        shown, token = page(mine, request.page_token, page_size(request.page_size, 100, 1000))
        return orgpolicy.ListCustomConstraintsResponse(custom_constraints=shown, next_page_token=token)

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/UpdateCustomConstraint")
    def update(self, request: orgpolicy.UpdateCustomConstraintRequest) -> orgpolicy.CustomConstraint:
        """Replace a constraint."""
        self._find(request.custom_constraint.name)
        return self._store(request.custom_constraint)

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/DeleteCustomConstraint")
    def delete(self, request: orgpolicy.DeleteCustomConstraintRequest) -> empty_pb2.Empty:
        """Delete a constraint."""
        del self._constraints[self._find(request.name).name]
        return empty_pb2.Empty()

    def _find(self, name: str) -> orgpolicy.CustomConstraint:
        if name not in self._constraints:
            raise not_found("Requested entity was not found.")
        return self._constraints[name]

    def _store(self, sent: orgpolicy.CustomConstraint) -> orgpolicy.CustomConstraint:
        constraint = orgpolicy.CustomConstraint(sent)
        stamp = timestamp_pb2.Timestamp()
        stamp.FromMicroseconds(int(self._clock() * 1e6))
        constraint.update_time = stamp
        self._constraints[constraint.name] = constraint
        return constraint
