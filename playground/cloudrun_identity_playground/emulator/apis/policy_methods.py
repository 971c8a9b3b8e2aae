"""The three policy methods, which are the same for every resource with a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.iam.v1 import iam_policy_pb2, policy_pb2

from cloudrun_identity_playground.emulator.errors import GoogleError

from .policies import Policies
from .policy_rules import PolicyRules
from .rpc import Handler


@dataclass(frozen=True)
class PolicyMethods:
    """`GetIamPolicy`, `SetIamPolicy` and `TestIamPermissions` of one API.

    `canonical` returns the name of the resource's policy, or raises GoogleError if there is no such resource.
    `seen` does the same for reads, which may not see a new resource. `rules` returns the rules for the policy
    of a resource.
    """

    service: str
    rules: Callable[[str], PolicyRules]
    policies: Policies
    canonical: Callable[[str], str]
    seen: Callable[[str], str] | None = None

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by RPC."""
        return {
            f"{self.service}/GetIamPolicy": self._get,
            f"{self.service}/SetIamPolicy": self._set,
            f"{self.service}/TestIamPermissions": self._test,
        }

    def _get(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        return self.policies.read((self.seen or self.canonical)(request.resource), request)

    def _set(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        return self.policies.write(self.canonical(request.resource), self.rules(request.resource), request)

    def _test(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        try:
            self.canonical(request.resource)
        except GoogleError:
            return (
                iam_policy_pb2.TestIamPermissionsResponse()
            )  # no permission applies to a resource that does not exist
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=request.permissions)
