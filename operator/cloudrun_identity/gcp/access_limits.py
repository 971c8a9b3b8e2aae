"""Deny policies and principal access boundaries, in the versions 2 and 3 of the IAM API.

Google allows 5 reads per minute and project in each of the two versions
(https://cloud.google.com/iam/quotas). A read that exceeds the quota is repeated after a pause.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from google.cloud import iam_v2, iam_v3

from cloudrun_identity.iam.boundaries import Boundary
from cloudrun_identity.iam.deny_rules import DenyRule

from .clients import ProjectClients
from .errors import GoogleError
from .ratelimit import Api
from .service_client import ServiceClient

ATTEMPTS = 5
"""Maximum number of attempts of a read that exceeds the quota."""

PAUSE = 15.0
"""Seconds before the next attempt if Google does not state them: one read of a quota of 5 is back."""


class AccessLimits:
    """Reads of deny policies and boundaries, with the credential of a project. All raise GoogleError.

    `container` is `projects/ID`, `folders/NUMBER` or `organizations/NUMBER`.
    """

    def __init__(
        self,
        clients: ProjectClients,
        project_id: str,
        show: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Create readers. `show` receives what they wait for."""
        self._project_id = project_id
        self._show = show
        self._sleep = sleep
        self._denials = ServiceClient(clients, Api.IAM, iam_v2, "google.iam.v2.Policies")
        self._boundaries = ServiceClient(clients, Api.IAM, iam_v3, "google.iam.v3.PolicyBindings")

    async def deny_rules(self, container: str, text: str) -> tuple[DenyRule, ...]:
        """Return the deny rules that are attached to a container, which messages name `text`.

        A list shows no rules, so that each policy is read
        (https://cloud.google.com/iam/docs/reference/rest/v2/policies/listPolicies).
        """
        attached_to = quote(f"cloudresourcemanager.googleapis.com/{container}", safe="")
        request = iam_v2.ListPoliciesRequest(parent=f"policies/{attached_to}/denypolicies")
        found: list[DenyRule] = []
        while True:
            page = await self._call(self._denials, "list_policies", request)
            for listed in page.policies:
                get = iam_v2.GetPolicyRequest(name=listed.name)
                policy = await self._call(self._denials, "get_policy", get)
                found += _deny_rules(policy, text)
            if not page.next_page_token:
                return tuple(found)
            request.page_token = page.next_page_token

    async def boundaries(self, container: str) -> tuple[Boundary, ...]:
        """Return the boundaries that are bound to principals of a container."""
        request = iam_v3.ListPolicyBindingsRequest(parent=f"{container}/locations/global")
        found: list[Boundary] = []
        while True:
            page = await self._call(self._boundaries, "list_policy_bindings", request)
            found += [
                _boundary(each, container)
                for each in page.policy_bindings
                if each.policy_kind == iam_v3.PolicyBinding.PolicyKind.PRINCIPAL_ACCESS_BOUNDARY
            ]
            if not page.next_page_token:
                return tuple(found)
            request.page_token = page.next_page_token

    async def _call(self, service: ServiceClient, method: str, request: object) -> Any:
        """Send one request, again after a pause if the quota is exceeded.

        The methods of lists return pagers, which have the fields of their first page.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await service.call(self._project_id, method, request)
            except GoogleError as error:
                if not error.rate_limited or attempt == ATTEMPTS:
                    raise
                pause = error.retry_after or PAUSE
            self._show(
                f"waiting {pause:.0f} s for the quota of deny policies and boundaries: 5 reads a minute"
            )
            await self._sleep(pause)
        raise AssertionError("unreachable")


def _deny_rules(policy: iam_v2.Policy, text: str) -> list[DenyRule]:
    named = f"deny policy {policy.name.rpartition('/')[2]} on {text}"
    return [
        DenyRule(
            named,
            tuple(rule.deny_rule.denied_principals),
            tuple(rule.deny_rule.denied_permissions),
            tuple(rule.deny_rule.exception_principals),
            tuple(rule.deny_rule.exception_permissions),
            rule.deny_rule.denial_condition.expression,
        )
        for rule in policy.rules
    ]


def _boundary(binding: iam_v3.PolicyBinding, container: str) -> Boundary:
    bound_to = binding.target.principal_set
    is_project = bound_to.startswith("//cloudresourcemanager.googleapis.com/projects/")
    condition = f" if {binding.condition.expression}" if binding.condition.expression else ""
    return Boundary(
        f"principal access boundary {binding.policy.rpartition('/')[2]}{condition}",
        bound_to,
        container.removeprefix("projects/") if is_project else "",
    )
