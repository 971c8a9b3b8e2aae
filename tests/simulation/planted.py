"""Planted faults: defects of the operator that the simulation must find.

Each is patched into the operator of this process. `python -m tests.simulation --planted all` shows after how
many histories each is found.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from cloudrun_identity.api.resource import Resource
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.kube.lease import Lease
from cloudrun_identity.manager.resync import Resync
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.recording import LedgerRecord
from cloudrun_identity.reconcile import conditions
from cloudrun_identity.reconcile.finalization import Finalizer
from cloudrun_identity.reconcile.outcomes import InSync


@contextmanager
def _replaced(owner: Any, name: str, new: Any) -> Iterator[None]:
    """Replace an attribute of a class or module within the block."""
    old = vars(owner)[name]
    setattr(owner, name, new)
    try:
        yield
    finally:
        setattr(owner, name, old)


def _ledger_not_written_ahead() -> AbstractContextManager[None]:
    """A policy is written before the ledger records the write: a crash in between loses the grant."""

    async def store_ahead(_: LedgerRecord, ledger: Any, write: Any) -> Any:
        return ledger

    return _replaced(LedgerRecord, "store_ahead", store_ahead)


def _policy_written_without_etag() -> AbstractContextManager[None]:
    """A policy is written without its etag: what another client wrote since the read is lost."""
    call = Policies._call

    async def without_etag(self: Policies, target: Any, verb: str, request: Any, *more: Any) -> Any:
        if verb == "SetIamPolicy":
            request.policy.etag = b""
        return await call(self, target, verb, request, *more)

    return _replaced(Policies, "_call", without_etag)


def _lease_ignored() -> AbstractContextManager[None]:
    """A standby acts without the Lease."""

    async def acquire(lease: Lease) -> None:
        lease._held_until = asyncio.get_running_loop().time() + lease._duration

    return _replaced(Lease, "acquire", acquire)


def _finalizer_removed_early() -> AbstractContextManager[None]:
    """The finalizer is removed before anything is undone."""

    async def undo(_: Any, obj: Any, *, uninstalled: bool) -> InSync:
        return InSync()

    return _replaced(Finalizer, "_undo", undo)


def _conflict_taken_for_success() -> AbstractContextManager[None]:
    """A write of a policy that is refused as ABORTED is neither retried nor reported."""
    set_policy = Policies.set

    async def careless(self: Policies, target: Any, policy: Any) -> Any:
        try:
            return await set_policy(self, target, policy)
        except GoogleError as error:
            if error.fault is Fault.ABORTED:
                return policy
            raise

    return _replaced(Policies, "set", careless)


def _deletions_not_seen() -> AbstractContextManager[None]:
    """An object that is being deleted looks like any other.

    To drop its watch events is not enough: the operator lists the objects, and restarts a silent watch.
    """
    return _replaced(Resource, "is_deleting", property(lambda _: False))


def _unmanaged_members_removed() -> AbstractContextManager[None]:
    """Every binding is handled as an Exclusive one."""
    initialize = DesiredGrants.__post_init__

    def exclusive(self: DesiredGrants) -> None:
        initialize(self)
        keys = frozenset(desired.grant.binding_key for desired in self.desired_grants)
        object.__setattr__(self, "exclusive", keys)

    return _replaced(DesiredGrants, "__post_init__", exclusive)


def _status_ahead() -> AbstractContextManager[None]:
    """A status claims a generation that the operator has not seen."""
    timed = conditions._timed

    def ahead(condition_type: Any, finding: Any, previous: Any, generation: int, now: Any) -> Any:
        return timed(condition_type, finding, previous, generation + 1, now)

    return _replaced(conditions, "_timed", ahead)


def _account_not_undeleted() -> AbstractContextManager[None]:
    """A deleted account is reported as undeleted, and is not."""

    async def undelete(self: ServiceAccounts, project_id: str, unique_id: str) -> Any:
        return await self.get(project_id, unique_id)

    return _replaced(ServiceAccounts, "undelete", undelete)


def _resync_off() -> AbstractContextManager[None]:
    """Drift is not detected."""

    async def run(_: Resync, name: str, interval: float) -> None:
        await asyncio.get_running_loop().create_future()

    return _replaced(Resync, "_run", run)


FAULTS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "ledger-not-written-ahead": _ledger_not_written_ahead,
    "policy-written-without-etag": _policy_written_without_etag,
    "lease-ignored": _lease_ignored,
    "finalizer-removed-early": _finalizer_removed_early,
    "conflict-taken-for-success": _conflict_taken_for_success,
    "deletions-not-seen": _deletions_not_seen,
    "unmanaged-members-removed": _unmanaged_members_removed,
    "status-ahead": _status_ahead,
    "account-not-undeleted": _account_not_undeleted,
    "resync-off": _resync_off,
}
"""The planted faults by name. Each plants itself within the block of its context manager."""
