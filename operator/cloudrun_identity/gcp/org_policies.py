"""The organization policy that decides whether a project's accounts may run another project's workloads."""

from typing import Final

from google.cloud.orgpolicy_v2 import types
from google.cloud.orgpolicy_v2.services.org_policy import OrgPolicyAsyncClient

from .clients import ProjectClients
from .errors import Fault, GoogleError
from .ratelimit import Api
from .service import ServiceClient

CROSS_PROJECT_USAGE: Final = "iam.disableCrossProjectServiceAccountUsage"
"""A boolean constraint that Google enforces where nobody set anything."""


class OrgPolicies:
    """The policies of one constraint. Every method raises GoogleError."""

    def __init__(self, clients: ProjectClients) -> None:
        self._service = ServiceClient(
            clients, Api.ORG_POLICY, OrgPolicyAsyncClient, "google.cloud.orgpolicy.v2.OrgPolicy"
        )

    async def allows_cross_project_usage(self, project_id: str) -> bool:
        """Whether it is allowed in effect, by the project's own policy or an inherited one."""
        request = types.GetEffectivePolicyRequest(name=_name(project_id))
        policy = await self._service.call(project_id, OrgPolicyAsyncClient.get_effective_policy, request)
        return not any(rule.enforce for rule in policy.spec.rules)

    async def allow_cross_project_usage(self, project_id: str) -> bool:
        """Set the project's own policy to not enforced, unless it is; answers whether it was written.

        The policy's dry run stays as it is.
        """
        wanted = _not_enforced(project_id)
        try:
            request = types.GetPolicyRequest(name=_name(project_id))
            own = await self._service.call(project_id, OrgPolicyAsyncClient.get_policy, request)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:  # not set here, inherited
                raise
            create = types.CreatePolicyRequest(parent=f"projects/{project_id}", policy=wanted)
            await self._service.call(project_id, OrgPolicyAsyncClient.create_policy, create)
            return True
        if own.spec.rules and not any(rule.enforce for rule in own.spec.rules):
            return False
        wanted.etag = own.etag
        update = types.UpdatePolicyRequest(policy=wanted, update_mask={"paths": ["policy.spec"]})
        await self._service.call(project_id, OrgPolicyAsyncClient.update_policy, update, repeatable=True)
        return True


def _name(project_id: str) -> str:
    return f"projects/{project_id}/policies/{CROSS_PROJECT_USAGE}"


def _not_enforced(project_id: str) -> types.Policy:
    rule = types.PolicySpec.PolicyRule(enforce=False)
    return types.Policy(name=_name(project_id), spec=types.PolicySpec(rules=[rule]))
