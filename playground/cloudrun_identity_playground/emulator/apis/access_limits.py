"""IAM v2 deny policies, and the bindings of principal access boundaries of IAM v3.

Only the seed creates them. Deny policies are enforced for all calls, boundaries are listed only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote, unquote

from google.cloud import iam_v2, iam_v3

from cloudrun_identity_playground.emulator.errors import invalid, not_found

from .projects import ProjectRegistry
from .rpc import serves

_HOST: Final = "cloudresourcemanager.googleapis.com/"
_FORMS: Final = {
    "principal://goog/subject/": "user:",
    "principalSet://goog/group/": "group:",
    "principal://iam.googleapis.com/projects/-/serviceAccounts/": "serviceAccount:",
}
"""Prefixes of principals in allow policies, by those in deny policies.

https://cloud.google.com/iam/docs/principal-identifiers
"""


class DenyPolicies:
    """The read methods of `google.iam.v2.Policies`."""

    def __init__(self, projects: ProjectRegistry) -> None:
        self._projects = projects
        self._attached: defaultdict[str, list[iam_v2.Policy]] = defaultdict(list)

    def add(self, container: str, policy_id: str, rules: Sequence[iam_v2.DenyRule]) -> None:
        """Attach a policy to a project, a folder or an organization."""
        policy = iam_v2.Policy(
            name=f"{self._parent(container)}/{policy_id}",
            kind="DenyPolicy",
            rules=[iam_v2.PolicyRule(deny_rule=rule) for rule in rules],
        )
        self._attached[self._canonical(container)].append(policy)

    @serves("google.iam.v2.Policies/ListPolicies")
    def list(self, request: iam_v2.ListPoliciesRequest) -> iam_v2.ListPoliciesResponse:
        """List the names of the policies of an attachment point.

        "The response lists only policy metadata":
        https://cloud.google.com/iam/docs/reference/rest/v2/policies/listPolicies
        """
        found = self._attached[self._canonical(attached_to(request.parent))]
        return iam_v2.ListPoliciesResponse(
            policies=[iam_v2.Policy(name=each.name, kind=each.kind) for each in found]
        )

    @serves("google.iam.v2.Policies/GetPolicy")
    def get(self, request: iam_v2.GetPolicyRequest) -> iam_v2.Policy:
        """Return a policy with its rules."""
        holder, _, policy_id = request.name.rpartition("/")
        found = self._attached[self._canonical(attached_to(holder))]
        for policy in found:
            if policy.name.rpartition("/")[2] == policy_id:
                return policy
        raise not_found(f"Policy {request.name} does not exist.")

    def rules(self, containers: Iterable[str]) -> Iterator[iam_v2.DenyRule]:
        """Yield the rules that are attached to containers, by their canonical names."""
        for container in containers:
            for policy in self._attached.get(container, ()):
                yield from (each.deny_rule for each in policy.rules)

    def _canonical(self, container: str) -> str:
        return self._projects.canonical(container) if container.startswith("projects/") else container

    def _parent(self, container: str) -> str:
        if container.startswith("projects/"):  # names have the number
            container = f"projects/{self._projects.resolve_name(container).number}"
        return f"policies/{quote(_HOST + container, safe='')}/denypolicies"


class AccessBoundaries:
    """`google.iam.v3.PolicyBindings/ListPolicyBindings`."""

    def __init__(self, projects: ProjectRegistry) -> None:
        self._projects = projects
        self._bound: defaultdict[str, list[iam_v3.PolicyBinding]] = defaultdict(list)

    def add(self, container: str, policy: str, principal_set: str) -> None:
        """Bind a boundary to a set of principals; empty for those of the container itself."""
        parent = self._canonical(f"{container}/locations/global")
        bound = self._bound[parent]
        bound.append(
            iam_v3.PolicyBinding(
                name=f"{parent}/policyBindings/binding-{len(bound)}",
                target={"principal_set": principal_set or f"//{_HOST}{container}"},
                policy_kind=iam_v3.PolicyBinding.PolicyKind.PRINCIPAL_ACCESS_BOUNDARY,
                policy=f"organizations/1/locations/global/principalAccessBoundaryPolicies/{policy}",
            )
        )

    @serves("google.iam.v3.PolicyBindings/ListPolicyBindings")
    def list(self, request: iam_v3.ListPolicyBindingsRequest) -> iam_v3.ListPolicyBindingsResponse:
        """List the bindings of a project, a folder or an organization."""
        return iam_v3.ListPolicyBindingsResponse(
            policy_bindings=self._bound.get(self._canonical(request.parent), ())
        )

    def _canonical(self, parent: str) -> str:
        container, separator, location = parent.partition("/locations/")
        if container.startswith("projects/"):
            container = self._projects.canonical(container)
        return f"{container}{separator}{location}"


def attached_to(name: str) -> str:
    """Return the project, folder or organization in the name of a deny policy or of its parent.

    Raises GoogleError: INVALID_ARGUMENT.
    """
    match name.split("/"):
        case ["policies", point, "denypolicies", *_] if unquote(point).startswith(_HOST):
            return unquote(point).removeprefix(_HOST)
    raise invalid(f"Invalid resource name '{name}'; expected 'policies/ATTACHMENT_POINT/denypolicies'.")


def denies(rule: iam_v2.DenyRule, identities: Collection[str], permission: str) -> bool:
    """Return whether a rule denies a permission to a caller with these identities, without its condition."""
    denied = any(_in_allow_form(each) in identities for each in rule.denied_principals)
    excepted = any(_in_allow_form(each) in identities for each in rule.exception_principals)
    listed = any(_covers(each, permission) for each in rule.denied_permissions)
    spared = any(_covers(each, permission) for each in rule.exception_permissions)
    return denied and not excepted and listed and not spared


def _in_allow_form(principal: str) -> str:
    if principal == "principalSet://goog/public:all":
        return "allUsers"
    for prefix, member in _FORMS.items():
        if principal.startswith(prefix):
            return member + principal.removeprefix(prefix).lower()
    return principal


def _covers(pattern: str, permission: str) -> bool:
    """Return whether a denied permission, or a group of them, covers a permission of roles.

    Groups end with `*`, or have it for the resource: `run.googleapis.com/*`, `run.googleapis.com/services.*`,
    `run.googleapis.com/*.update`. https://cloud.google.com/iam/docs/deny-permissions-support
    """
    host, _, denied = pattern.partition("/")
    service, _, held = permission.partition(".")
    if host.removesuffix(".googleapis.com").removeprefix("cloud" if service == "resourcemanager" else "") != (
        service
    ):
        return False
    if "*" not in denied:
        return held == denied
    head, _, tail = denied.partition("*")
    return held.startswith(head) and held.endswith(tail)
