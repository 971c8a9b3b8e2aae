"""Lets a call through to its handler if its caller may make it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any, assert_never

from google.iam.v1 import iam_policy_pb2

from cloudrun_identity_playground.emulator.apis.accounts import AccountStore
from cloudrun_identity_playground.emulator.apis.actor import Caller, caller
from cloudrun_identity_playground.emulator.apis.policies import Policies
from cloudrun_identity_playground.emulator.apis.rpc import Handler

from .denials import denied
from .effective import EffectivePermissions
from .resources import Hierarchy
from .rules import RULES, Finds, Free, Lends, Needs, Tells


class Authorizer:
    """Applies the table of `rules`."""

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
        """The response of `handler`, as far as the caller may have it.

        Raises GoogleError: PERMISSION_DENIED, or what the handler raises.
        """
        rule = RULES[rpc]
        match rule:
            case Free():
                return handler(request)
            case Needs():
                self._check(rpc, rule, request)
                return handler(request)
            case Lends():
                self._check_loan(rpc, rule, request)
                return handler(request)
            case Finds():
                return self._seen(rule, handler(request))
            case Tells():
                return self._told(rule, request, handler(request))
            case _:
                assert_never(rule)

    def _check(self, rpc: str, rule: Needs, request: Any) -> None:
        name = _field(request, rule.on)
        modified = frozenset[str]()
        if isinstance(request, iam_policy_pb2.SetIamPolicyRequest) and not caller().almighty:
            modified = self._modified_roles(request)
        further = (permission for field, permission in rule.with_field.items() if _is_set(request, field))
        for permission in (rule.permission, *further):
            if not self._may(caller(), permission, name, modified):
                raise denied(rpc, permission, name)

    def _check_loan(self, rpc: str, rule: Lends, request: Any) -> None:
        """Each of the chain must be allowed to delegate to the next, and the last one to lend the account."""
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
        self, who: Caller, permission: str, name: str, modified_roles: frozenset[str] = frozenset()
    ) -> bool:
        """What belongs to nobody needs no permission; what is no name is the handler's to refuse."""
        if who.almighty:
            return True
        resource = self._hierarchy.resource(name)
        return resource is None or self._permissions.has(who, permission, resource, modified_roles)

    def _seen(self, rule: Finds, response: Any) -> Any:
        seen = [
            each
            for each in getattr(response, rule.results)
            if self._may(caller(), rule.permission, each.name)
        ]
        setattr(response, rule.results, seen)
        return response

    def _told(self, rule: Tells, request: Any, response: Any) -> Any:
        """The handler grants everything on what exists: these are left of it."""
        name = _field(request, rule.on)
        return iam_policy_pb2.TestIamPermissionsResponse(
            permissions=[each for each in response.permissions if self._may(caller(), each, name)]
        )

    def _modified_roles(self, request: iam_policy_pb2.SetIamPolicyRequest) -> frozenset[str]:
        """The roles that somebody holds more or less of after the write."""
        resource = self._hierarchy.resource(request.resource)
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


def _is_set(request: Any, field: str) -> bool:
    return field in request  # a message of a field is contained in its parent only if it was sent
