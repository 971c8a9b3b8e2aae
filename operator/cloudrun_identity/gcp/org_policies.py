"""Organization policies: whether accounts of a project may run workloads of other projects, and others."""

from typing import Final

from .clients import ProjectClients
from .errors import Fault, GoogleError
from .libraries import orgpolicy_v2
from .ratelimit import Api
from .service_client import ServiceClient

CROSS_PROJECT_USAGE: Final = "iam.disableCrossProjectServiceAccountUsage"
"""Boolean constraint. Google enforces it where no policy sets it."""


class OrgPolicies:
    """Methods of the Organization Policy API for boolean constraints. Every method raises GoogleError."""

    def __init__(self, clients: ProjectClients) -> None:
        self._clients = clients
        self._service = ServiceClient(
            clients, Api.ORG_POLICY, orgpolicy_v2, "google.cloud.orgpolicy.v2.OrgPolicy"
        )

    async def allows_cross_project_usage(self, project_id: str) -> bool:
        """Return whether the effective policy of the project allows cross-project usage."""
        return not await self.is_enforced(project_id, CROSS_PROJECT_USAGE)

    def are_reads_low(self, project_id: str) -> bool:
        """Return whether less than half of a burst of reads is left for the credential of the project."""
        return self._clients.for_project(project_id).are_reads_low(Api.ORG_POLICY)

    async def is_enforced(self, project_id: str, constraint: str) -> bool:
        """Return whether the effective policy of the project enforces a boolean constraint."""
        request = orgpolicy_v2.GetEffectivePolicyRequest(name=_name(project_id, constraint))
        policy = await self._service.call(project_id, "get_effective_policy", request)
        return any(rule.enforce for rule in policy.spec.rules)

    async def allow_cross_project_usage(self, project_id: str) -> bool:
        """Set the project's own policy to not enforced. Return False if it already is.

        The dry-run spec of the policy stays as it is.
        """
        desired = _not_enforced(project_id)
        try:
            request = orgpolicy_v2.GetPolicyRequest(name=_name(project_id))
            own = await self._service.call(project_id, "get_policy", request)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:  # NOT_FOUND: not set on the project, inherited
                raise
            create = orgpolicy_v2.CreatePolicyRequest(parent=f"projects/{project_id}", policy=desired)
            await self._service.call(project_id, "create_policy", create)
            return True
        if own.spec.rules and not any(rule.enforce for rule in own.spec.rules):
            return False
        desired.etag = own.etag
        update = orgpolicy_v2.UpdatePolicyRequest(policy=desired, update_mask={"paths": ["policy.spec"]})
        await self._service.call(project_id, "update_policy", update, repeatable=True, has_etag=True)
        return True


def _name(project_id: str, constraint: str = CROSS_PROJECT_USAGE) -> str:
    return f"projects/{project_id}/policies/{constraint}"


def _not_enforced(project_id: str) -> "orgpolicy_v2.Policy":
    rule = orgpolicy_v2.PolicySpec.PolicyRule(enforce=False)
    return orgpolicy_v2.Policy(name=_name(project_id), spec=orgpolicy_v2.PolicySpec(rules=[rule]))
