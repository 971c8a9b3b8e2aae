"""Beliefs about service accounts: missing, new and deleted ones."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from functools import partial

from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.policy.merge import grants_in
from tools.verify.beliefs import Belief, Cost, Observation, described, judged, refuted, undecided
from tools.verify.sandbox import LAGGING, Sandbox

from .policies import ROLES

_READ = "resourcemanager.projects.get"
"""Permission of the role that makes a grant's effect visible."""


async def _missing(sandbox: Sandbox) -> AsyncIterator[Observation]:
    present = await sandbox.account("anchor")
    await sandbox.accounts.get(sandbox.project_id, present.email)  # or the caller may not read accounts
    email = sandbox.email("missing")
    yield await _missing_read(sandbox, "account that never existed, by e-mail", email)
    deleted = await sandbox.create_account("deleted")
    await sandbox.until_seen(deleted)
    await sandbox.delete_account(deleted)
    for what, identifier in (("e-mail", deleted.email), ("unique id", deleted.unique_id)):
        yield await _missing_read(sandbox, f"deleted account, by {what}", identifier)
    target = Target.service_account(sandbox.project_id, email)
    try:
        await sandbox.policies.get(target)
    except GoogleError as error:
        yield judged(
            error.fault is Fault.NOT_FOUND, "policy of an account that never existed", described(error)
        )
    else:
        yield refuted("policy of an account that never existed", "answered")


async def _missing_read(sandbox: Sandbox, what: str, identifier: str) -> Observation:
    errors: list[GoogleError] = []

    async def refused() -> bool:
        try:
            await sandbox.accounts.get(sandbox.project_id, identifier)
        except GoogleError as error:
            errors.append(error)
        return bool(errors)

    try:
        await sandbox.until(refused)
    except TimeoutError:
        return refuted(what, "is still readable")
    return judged(errors[0].fault is Fault.NOT_FOUND, what, described(errors[0]))


async def _lag(sandbox: Sandbox) -> AsyncIterator[Observation]:
    limit = sandbox.settings.account_lag
    account = await sandbox.create_account("fresh")
    started = time.monotonic()
    for subject, wait in (
        ("reads show a new account", sandbox.until_seen),
        ("the project's policy accepts it", sandbox.until_accepted),
        ("it has a policy", partial(_until_own_policy, sandbox)),
    ):
        yield await _in_time(subject, wait(account), started, limit)
    try:
        policies = await until_acting(sandbox, account)
    except (GoogleError, TimeoutError) as error:
        yield undecided("a grant takes effect", cannot_act(sandbox, error))
        return
    await sandbox.add(sandbox.grant_on_project(account))
    started = time.monotonic()
    effect = until_effective(sandbox, policies, _READ)
    yield await _in_time("a grant takes effect", effect, started, sandbox.settings.access_lag)


async def _in_time(subject: str, wait: Awaitable[None], started: float, limit: float) -> Observation:
    """Return whether a wait ends within `limit` seconds after `started`."""
    try:
        await wait
    except TimeoutError as error:
        return refuted(subject, str(error))
    seconds = time.monotonic() - started
    return judged(seconds <= limit, subject, f"after {seconds:.1f} s, expected within {limit:g} s")


async def _until_own_policy(sandbox: Sandbox, account: ServiceAccount) -> None:
    target = Target.service_account(sandbox.project_id, account.email)
    grant = Grant(target, ROLES[target.kind], service_account_member(account.email))

    async def written() -> bool:
        await sandbox.add(grant)
        return True

    await sandbox.until(written, LAGGING)


async def until_acting(sandbox: Sandbox, account: ServiceAccount) -> Policies:
    """Wait until the caller can act as an account. Return the policies client that does.

    If the caller is known, it is granted Token Creator on the account first.

    Raises:
        GoogleError: UNAUTHENTICATED: the caller cannot act as the account.
        TimeoutError: The grant of Token Creator does not take effect.

    """
    caller = sandbox.settings.caller
    if caller:
        target = Target.service_account(sandbox.project_id, account.email)
        await sandbox.add(Grant(target, TOKEN_CREATOR, caller))
    policies = sandbox.policies_as(account)

    async def acts() -> bool:
        await policies.test_permissions(sandbox.project, [_READ])
        return True

    await sandbox.until(acts, frozenset({Fault.UNAUTHENTICATED}) if caller else frozenset())
    return policies


async def until_effective(sandbox: Sandbox, policies: Policies, permission: str) -> None:
    """Wait until the account that `policies` acts as has a permission on the project."""

    async def effective() -> bool:
        return permission in await policies.test_permissions(sandbox.project, [permission])

    await sandbox.until(effective, frozenset({Fault.UNAUTHENTICATED}))


def cannot_act(sandbox: Sandbox, error: GoogleError | TimeoutError) -> str:
    """Return the reason why nothing is known about the access of a temporary account."""
    reason = described(error) if isinstance(error, GoogleError) else str(error)
    remedy = "" if sandbox.settings.caller else "; name the member that runs this with --caller"
    return f"cannot be observed: {reason}{remedy}"


async def _tombstones(sandbox: Sandbox) -> AsyncIterator[Observation]:
    former = await sandbox.account("recreated")
    live = sandbox.grant_on_project(former)
    tombstone = live.deleted_form(former.unique_id)
    await sandbox.add(live)
    await sandbox.delete_account(former)
    shown = await _shown_once(sandbox, tombstone)
    yield judged(tombstone in shown, "policy after the account is deleted", _forms(shown, live, tombstone))
    if tombstone not in shown:
        return
    account = await sandbox.create_account("recreated")
    await sandbox.until_seen(account)
    await _until_own_policy(sandbox, account)
    shown = grants_in(await sandbox.policies.get(sandbox.project), sandbox.project)
    as_expected = tombstone in shown and live not in shown
    yield judged(as_expected, "policy after it is created again", _forms(shown, live, tombstone))
    try:
        written = grants_in(await sandbox.add(live), sandbox.project)
    except GoogleError as error:
        yield judged(False, "the live member is added beside it", described(error))
        return
    both = {live, tombstone} <= written
    yield judged(both, "the live member is added beside it", _forms(written, live, tombstone))
    left = grants_in(await sandbox.remove(tombstone), sandbox.project)
    yield judged(
        live in left and tombstone not in left,
        "the tombstone is removed alone",
        _forms(left, live, tombstone),
    )


async def _shown_once(sandbox: Sandbox, grant: Grant) -> frozenset[Grant]:
    """Return the grants of the project's policy as soon as they contain the grant, or at last."""
    shown = frozenset[Grant]()

    async def is_shown() -> bool:
        nonlocal shown
        shown = grants_in(await sandbox.policies.get(sandbox.project), sandbox.project)
        return grant in shown

    with contextlib.suppress(TimeoutError):
        await sandbox.until(is_shown, max_wait=sandbox.settings.account_lag)
    return shown


def _forms(shown: frozenset[Grant], live: Grant, tombstone: Grant) -> str:
    forms = [name for name, grant in (("tombstone", tombstone), ("live member", live)) if grant in shown]
    return f"shows {' and '.join(forms) or 'neither tombstone nor live member'}"


MISSING_ACCOUNT = Belief(
    id="missing-account",
    statement="A read of an account that does not exist, or of its policy, under its own project answers "
    "NOT_FOUND, not PERMISSION_DENIED.",
    breaks="The operator does not create an account, or does not notice that another client deleted one.",
    modules=(
        "gcp/service_accounts.py",
        "controllers/cloud_run_identity/observation.py",
        "api/target_kinds.py",
    ),
    cost=Cost.FAST,
    check=_missing,
)

LAG = Belief(
    id="propagation",
    statement="A new account is readable, is accepted as a member and has a policy within two minutes, and a "
    "grant takes effect within seven minutes.",
    breaks="The operator reports a new account as deleted, or a grant as refused, and retries more slowly.",
    modules=(
        "controllers/cloud_run_identity/propagation.py",
        "controllers/new_accounts.py",
        "policy/backoff.py",
    ),
    cost=Cost.SLOW,
    check=_lag,
)

TOMBSTONES = Belief(
    id="tombstones",
    statement="A policy shows the grants of a deleted account as `deleted:serviceAccount:…?uid=…`, also "
    "after the account is created again, and accepts the new account beside this form.",
    breaks="The grants of a recreated account are not restored, or its former grants are left behind.",
    modules=("policy/tombstones.py", "policy/merge.py", "iam/principals.py"),
    cost=Cost.SLOW,
    check=_tombstones,
)
