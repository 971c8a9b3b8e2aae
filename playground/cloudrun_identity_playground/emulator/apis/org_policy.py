"""Organization Policy v2: policies of projects, folders and organizations, and their inheritance."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.cloud import orgpolicy_v2 as orgpolicy
from google.protobuf import empty_pb2, timestamp_pb2

from cloudrun_identity_playground.emulator.errors import aborted, already_exists, invalid, not_found

from .paging import page, page_size
from .projects import Project, ProjectRegistry
from .rpc import serves

ENFORCED_BY_DEFAULT = frozenset({"iam.disableCrossProjectServiceAccountUsage"})
"""Boolean constraints that Google enforces if no policy is set."""

_LISTS = ("iam.allowedPolicyMemberDomains", "iam.serviceAccountKeyExpiryHours")
_CONSTRAINTS = (
    *_LISTS,
    *(f"iam.{name}" for name in ("disableCrossProjectServiceAccountUsage", "disableServiceAccountCreation")),
    *(f"iam.disableServiceAccountKey{verb}" for verb in ("Creation", "Upload")),
    *(f"iam.managed.disableServiceAccountKey{verb}" for verb in ("Creation", "Upload")),
)
_PARTS = ("spec", "dry_run_spec")
_NAME = re.compile(r"((?:projects|folders|organizations)/[^/]+)/policies/([A-Za-z0-9.]+)")


class OrgPolicies:
    """The policies of `google.cloud.orgpolicy.v2.OrgPolicy`; see also `custom_constraints`."""

    def __init__(self, projects: ProjectRegistry, clock: Callable[[], float]) -> None:
        self._projects = projects
        self._clock = clock
        self._policies: dict[str, orgpolicy.Policy] = {}

    def is_enforced(self, project: Project, constraint: str) -> bool:
        """Return whether a boolean constraint is enforced in `project`, by its own or an inherited policy."""
        rules = self._effective(f"projects/{project.id}", constraint).rules
        return any(rule.enforce and not rule.condition.expression for rule in rules)

    def allowed_values(self, holder: str, constraint: str) -> frozenset[str] | None:
        """Return what a list constraint allows in a project, folder or organization, in lower case.

        Return None if it restricts nothing.
        """
        rules = self._effective(holder, constraint).rules
        if any(rule.allow_all for rule in rules) or not any("values" in rule for rule in rules):
            return None
        return frozenset(value.lower() for rule in rules for value in rule.values.allowed_values)

    def all(self) -> Iterable[orgpolicy.Policy]:
        """Return all policies."""
        return self._policies.values()

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/GetEffectivePolicy")
    def get_effective(self, request: orgpolicy.GetEffectivePolicyRequest) -> orgpolicy.Policy:
        """Return the effective policy: own, inherited, or the default."""
        parent, constraint = self._parse(request.name)
        return orgpolicy.Policy(
            name=f"{parent}/policies/{constraint}", spec=self._effective(parent, constraint)
        )

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/GetPolicy")
    def get(self, request: orgpolicy.GetPolicyRequest) -> orgpolicy.Policy:
        """Return the policy that is set on this resource; NOT_FOUND if it is inherited."""
        return self._find(request.name)

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/ListPolicies")
    def list(self, request: orgpolicy.ListPoliciesRequest) -> orgpolicy.ListPoliciesResponse:
        """List the policies that are set on this resource."""
        prefix = f"{self._parent(request.parent)}/policies/"
        mine = {name: policy for name, policy in self._policies.items() if name.startswith(prefix)}
        shown, token = page(mine, request.page_token, page_size(request.page_size, 100, 1000))
        return orgpolicy.ListPoliciesResponse(policies=shown, next_page_token=token)

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/ListConstraints")
    def constraints(self, request: orgpolicy.ListConstraintsRequest) -> orgpolicy.ListConstraintsResponse:
        """List the constraints about service accounts and members, which are the known ones here."""
        parent = self._parent(request.parent)
        known = {f"{parent}/constraints/{name}": _constraint(parent, name) for name in _CONSTRAINTS}
        shown, token = page(known, request.page_token, page_size(request.page_size, 100, 1000))
        return orgpolicy.ListConstraintsResponse(constraints=shown, next_page_token=token)

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/CreatePolicy")
    def create(self, request: orgpolicy.CreatePolicyRequest) -> orgpolicy.Policy:
        """Create a policy."""
        parent, constraint = self._parse(request.policy.name)
        if parent != self._parent(request.parent):
            raise invalid(f"The policy '{request.policy.name}' is not one of '{request.parent}'.")
        name = f"{parent}/policies/{constraint}"
        if name in self._policies:
            raise already_exists(f"The policy '{name}' already exists.")
        return self._store(name, orgpolicy.Policy(request.policy))

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/UpdatePolicy")
    def update(self, request: orgpolicy.UpdatePolicyRequest) -> orgpolicy.Policy:
        """Replace the parts of a policy in the mask; a mask of `policy.spec` also removes an unsent dry run.

        The method overwrites the policy as a whole, as documented, and recorded for this mask:
        https://cloud.google.com/resource-manager/docs/reference/orgpolicy/rest/v2/projects.policies/patch
        """
        policy = orgpolicy.Policy(self._find(request.policy.name))
        sent = request.policy
        _check_etag(sent.etag or sent.spec.etag, policy)
        # The mask's paths begin with the request's field, in gRPC and REST. No mask replaces everything.
        paths = [path.removeprefix("policy.") for path in request.update_mask.paths]
        for part in _PARTS if not paths or "*" in paths or paths == ["spec"] else paths:
            if part not in _PARTS:
                raise invalid(f"Invalid field mask path '{part}' of an organization policy.")
            setattr(policy, part, getattr(sent, part) if part in sent else None)
        return self._store(policy.name, policy)

    @serves("google.cloud.orgpolicy.v2.OrgPolicy/DeletePolicy")
    def delete(self, request: orgpolicy.DeletePolicyRequest) -> empty_pb2.Empty:
        """Delete a policy, so that the inherited one applies."""
        policy = self._find(request.name)
        _check_etag(request.etag, policy)
        del self._policies[policy.name]
        return empty_pb2.Empty()

    def _effective(self, parent: str, constraint: str) -> orgpolicy.PolicySpec:
        """Return the spec of the nearest policy from `parent` upwards, or the default.

        A policy that inherits adds its rules to those above it; one that resets returns to Google's default.
        """
        rules: list[Any] = []
        for holder in self._chain(parent):
            policy = self._policies.get(f"{holder}/policies/{constraint}")
            if policy is None or "spec" not in policy:  # a policy with a dry run only
                continue
            if policy.spec.reset:
                break
            rules.extend(policy.spec.rules)
            if not policy.spec.inherit_from_parent:
                return orgpolicy.PolicySpec(rules=rules)
        default = orgpolicy.PolicySpec.PolicyRule(enforce=constraint in ENFORCED_BY_DEFAULT)
        return orgpolicy.PolicySpec(rules=rules or [default])

    def _chain(self, parent: str) -> Iterator[str]:
        """Yield a project, folder or organization and its ancestors."""
        if parent.startswith("projects/"):
            return self._projects.chain(self._projects.resolve_name(parent))
        return self._projects.containers.above(parent)

    def _find(self, name: str) -> orgpolicy.Policy:
        parent, constraint = self._parse(name)
        policy = self._policies.get(f"{parent}/policies/{constraint}")
        if policy is None:
            raise not_found("Requested entity was not found.")
        return policy

    def _store(self, name: str, policy: orgpolicy.Policy) -> orgpolicy.Policy:
        policy.name = name
        policy.etag = secrets.token_urlsafe(8)
        stamp = timestamp_pb2.Timestamp()
        stamp.FromMicroseconds(int(self._clock() * 1e6))
        for part in _PARTS:
            if part in policy:
                spec = getattr(policy, part)
                spec.etag, spec.update_time = policy.etag, stamp
        self._policies[name] = policy
        return policy

    def _parse(self, name: str) -> tuple[str, str]:
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid organization policy name '{name}'.")
        return self._parent(match[1]), match[2]

    def _parent(self, parent: str) -> str:
        if parent.startswith("projects/"):
            return self._projects.canonical(parent)
        return self._projects.containers.resolve(parent).name


def _constraint(parent: str, name: str) -> orgpolicy.Constraint:
    constraint = orgpolicy.Constraint(
        name=f"{parent}/constraints/{name}",
        display_name=name,
        constraint_default=orgpolicy.Constraint.ConstraintDefault.ALLOW,
    )
    if name in _LISTS:
        constraint.list_constraint = orgpolicy.Constraint.ListConstraint(supports_in=False)
    else:
        constraint.boolean_constraint = orgpolicy.Constraint.BooleanConstraint()
    return constraint


def _check_etag(sent: str, policy: orgpolicy.Policy) -> None:
    if sent and sent != policy.etag:
        raise aborted("The policy has been changed since it was read; read it again.")
