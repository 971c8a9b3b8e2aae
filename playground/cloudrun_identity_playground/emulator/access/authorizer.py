"""Authorization of calls by the table in `rules`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, assert_never

from google.iam.v1 import iam_policy_pb2

from cloudrun_identity_playground.emulator.apis.accounts import AccountStore
from cloudrun_identity_playground.emulator.apis.actor import Caller, caller
from cloudrun_identity_playground.emulator.apis.policies import Policies
from cloudrun_identity_playground.emulator.apis.rpc import Handler
from cloudrun_identity_playground.emulator.apis.target_names import target_name

from .denials import denied
from .effective import EffectivePermissions
from .resources import Hierarchy
from .rules import (
    RULES,
    FiltersResults,
    Impersonates,
    RequiresActivityPermission,
    RequiresPermission,
    RequiresPolicyPermission,
    ReturnsPermissions,
    Unrestricted,
)


class Authorizer:
    """Applies the rule of each method."""

    def __init__(
        self,
        hierarchy: Hierarchy,
        permissions: EffectivePermissions,
        policies: Policies,
        accounts: AccountStore,
    ) -> None:
        self._hierarchy = hierarchy
        self._permissions = permissions
        self._policies = policies
        self._accounts = accounts

    def answer(self, rpc: str, request: Any, handler: Handler) -> Any:
        """Return the response of `handler`, reduced to what the caller is allowed to see.

        Raises GoogleError: PERMISSION_DENIED, or the error of the handler.
        """
        rule = RULES[rpc]
        match rule:
            case Unrestricted():
                return handler(request)
            case RequiresPermission():
                self._check(rpc, rule, request)
                return handler(request)
            case RequiresPolicyPermission(verb):
                if target := target_name(request.resource, rpc):
                    permission = f"{target.descriptor.permission_prefix}.{verb}"
                    self._check(rpc, RequiresPermission(permission, "resource"), request)
                return handler(request)
            case RequiresActivityPermission():
                permission = f"policyanalyzer.{request.activity_type}Activities.query"
                self._check(rpc, RequiresPermission(permission, "parent"), request)
                return handler(request)
            case Impersonates():
                self._check_impersonation(rpc, rule, request)
                return handler(request)
            case FiltersResults():
                return self._filter(rule, handler(request))
            case ReturnsPermissions():
                return self._permissions_of_caller(rpc, rule, request, handler(request))
            case _:
                assert_never(rule)

    def _check(self, rpc: str, rule: RequiresPermission, request: Any) -> None:
        modified = frozenset[str]()
        if isinstance(request, iam_policy_pb2.SetIamPolicyRequest) and not caller().is_admin:
            modified = self._modified_roles(rpc, request)
        further = (permission for field, permission in rule.with_field.items() if _is_set(request, field))
        for permission in (rule.permission, *further):
            for name in _fields(request, rule.on):
                if not self._may(caller(), permission, name, modified, rpc):
                    raise denied(rpc, permission, name)

    def _check_impersonation(self, rpc: str, rule: Impersonates, request: Any) -> None:
        """Check each link of the delegation chain, and that the last one may impersonate the account."""
        holder = caller()
        for delegate in getattr(request, "delegates", ()):
            self._check_link(rpc, holder, "iam.serviceAccounts.implicitDelegation", delegate)
            account = self._accounts.any(delegate.rpartition("/")[2])
            holder = Caller(f"serviceAccount:{account.email}", account.unique_id) if account else Caller("")
        self._check_link(rpc, holder, rule.permission, request.name)

    def _check_link(self, rpc: str, holder: Caller, permission: str, account_name: str) -> None:
        if not self._may(holder, permission, account_name):
            raise denied(rpc, permission, account_name)

    def _may(
        self,
        who: Caller,
        permission: str,
        name: str,
        modified_roles: frozenset[str] = frozenset(),
        rpc: str = "",
    ) -> bool:
        """Return whether a principal has a permission. Names that are no resource are left to the handler."""
        if who.is_admin:
            return True
        resource = self._hierarchy.resource(name, rpc)
        return resource is None or self._permissions.has(who, permission, resource, modified_roles)

    def _filter(self, rule: FiltersResults, response: Any) -> Any:
        seen = [
            each
            for each in getattr(response, rule.results)
            if self._may(caller(), rule.permission, each.name)
        ]
        setattr(response, rule.results, seen)
        return response

    def _permissions_of_caller(self, rpc: str, rule: ReturnsPermissions, request: Any, response: Any) -> Any:
        """Reduce the permissions that the handler returns for the resource to those of the caller."""
        name = _field(request, rule.on)
        return iam_policy_pb2.TestIamPermissionsResponse(
            permissions=[each for each in response.permissions if self._may(caller(), each, name, rpc=rpc)]
        )

    def _modified_roles(self, rpc: str, request: iam_policy_pb2.SetIamPolicyRequest) -> frozenset[str]:
        """Return the roles with added or removed grants."""
        resource = self._hierarchy.resource(request.resource, rpc)
        paths = request.update_mask.paths
        if resource is None or (paths and "bindings" not in paths):
            return frozenset()
        before = {*_grants(self._policies.shown(resource.policies[0]).bindings)}
        return frozenset(role for role, *_ in before ^ {*_grants(request.policy.bindings)})


def _grants(bindings: Any) -> Iterator[tuple[str, bytes, str]]:
    for binding in bindings:
        for member in binding.members:
            yield binding.role, binding.condition.SerializeToString(deterministic=True), member


def _field(request: Any, dotted: str) -> str:
    name: str = reduce(getattr, dotted.split("."), request)
    return name


def _fields(request: Any, dotted: str) -> Sequence[str]:
    """Return the names in a field that may be repeated."""
    value = reduce(getattr, dotted.split("."), request)
    return [value] if isinstance(value, str) else list(value)


def _is_set(request: Any, field: str) -> bool:
    return field in request  # true for a message field only if it was sent
