"""Plan a sync for the current resource with the target's name, not for a former one with that name."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import email
from cloudrun_identity.ledger.model import Ledger

from .backoff import GrantBackoffs
from .bound_policies import BoundPolicies
from .planning import PolicyPlan, plan_policy
from .ports import SyncerPorts
from .registrations import Registrations
from .review import SyncFacts
from .steps import RetainGrant, RetainReason

_NO_IDS: Mapping[str, str] = MappingProxyType({})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlannedSync:
    """A sync that is planned for one resource."""

    known: Ledger
    """The ledger on which the sync is planned. Empty for a resource with the name of a former one."""
    plan: PolicyPlan
    """The plan, with the ledger of the resource that has the name of the target now."""
    drifted: frozenset[Grant]
    """The grants that were lost since the last sync, also with a former resource of the name."""


class SyncPlanner:
    """Plans the syncs of one policy. It reads unique IDs only if the plan depends on them."""

    def __init__(self, ports: SyncerPorts, registrations: Registrations, backoffs: GrantBackoffs) -> None:
        self._ports = ports
        self._registrations = registrations
        self._backoffs = backoffs

    async def plan_for_target(
        self, ledger: Ledger, policies: BoundPolicies, present: Collection[Grant], *, write_found: bool
    ) -> PlannedSync | None:
        """Plan the sync for the resource that has the name of the target now.

        The ledger of another resource starts empty: declared grants are made on it, and nothing is removed
        from it. Returns None for an account that was created in the place of an identity's, which decides
        whether to take it over.
        """
        plan = self.plan(ledger, present, write_found=write_found)
        drifted, known = plan.drifted, ledger
        if plan.depends_on_target:
            unique_id, account = await _unique_id(ledger, plan, policies), ledger.account
            if account and account.owner and account.unique_id and unique_id not in ("", account.unique_id):
                return None
            known = ledger.bound_to(unique_id)
            if known is not ledger:
                _report_replacement(ledger, known)
                plan = self.plan(known, present, write_found=write_found)
        if members := plan.members_to_identify(present):
            account_ids = await self._account_ids(members)
            plan = self.plan(known, present, account_ids, write_found=write_found)
        _report_left_after_restore(plan)
        return PlannedSync(known, plan, drifted)

    async def _account_ids(self, members: Collection[str]) -> Mapping[str, str]:
        """Return the unique IDs of the accounts that have the e-mails of the members now."""
        members = sorted(members)
        found = await asyncio.gather(*(self._ports.account_id(email(member)) for member in members))
        return dict(zip(members, found, strict=True))

    def plan(
        self,
        ledger: Ledger,
        present: Collection[Grant],
        account_ids: Mapping[str, str] = _NO_IDS,
        *,
        write_found: bool = False,
    ) -> PolicyPlan:
        """Return the plan for a policy with these grants."""
        declared = self._registrations.concerning(ledger)
        observed = self._ports.is_observed(ledger.target.project_id)
        if observed:  # some objects may not have been reconciled since
            declared = [each if each.ending else replace(each, writable=False) for each in declared]
        return plan_policy(
            ledger,
            declared,
            present,
            SyncFacts(
                may_release=self._registrations.is_complete,
                observed=observed,
                withheld=self._backoffs.withheld,
                protected=self._ports.is_protected,
                may_return=self._ports.may_return,
                is_declared=self._ports.is_declared,
                now=self._ports.wall_clock(),
                account_ids=account_ids,
                write_found=write_found,
                is_operator=self._ports.is_operator,
            ),
        )


async def _unique_id(ledger: Ledger, plan: PolicyPlan, policies: BoundPolicies) -> str:
    """Return the unique ID of the target for which the sync is planned.

    For an identity's account, it is the recorded one if the sync only records grants that the policy shows:
    the identity has read the account, and a later write reads the ID again.
    """
    account = ledger.account
    if account and account.owner and account.is_steady and not plan.writes:
        return account.unique_id
    return await policies.unique_id(ledger)


def _report_left_after_restore(plan: PolicyPlan) -> None:
    """Log the grants that stay because the ledger may be older than the policy."""
    for step in plan.steps:
        if isinstance(step, RetainGrant) and step.reason is RetainReason.RESTORED:
            _log.warning("%s is left, and not managed any more: %s", step.grant, step.reason)


def _report_replacement(before: Ledger, bound: Ledger) -> None:
    """Log that the entries of a former resource end."""
    if before.target_uid:
        _log.warning(
            "%s of project %s was deleted and created again (unique ID %s, formerly %s): the records of %d "
            "grants end, and the operator makes those again that an object declares",
            before.target,
            before.target.project_id,
            bound.target_uid,
            before.target_uid,
            len(before.entries),
        )
