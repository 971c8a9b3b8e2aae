"""Finding the k grants that Google refuses among N that it takes, in O(k log N) writes."""

from collections.abc import Collection, Sequence
from typing import Protocol

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import email, lower_email

from .desired_grants import DesiredGrant
from .merge import Release

REFUSALS = frozenset({Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION})
"""Faults by which Google refuses a policy for what stands in it."""

MAX_PRINCIPALS = 1500
"""Members that a policy takes, each counted as often as it stands there (Google's quota)."""

LEDGER_FULL = GoogleError(
    Fault.INVALID_ARGUMENT,
    "",
    f"the ledger of this policy is full: it takes {MAX_PRINCIPALS} grants, and about a megabyte with their "
    "conditions and the names of all objects that declare them; declare fewer, or grant the role to a group "
    "instead of its members",
)


class PolicyUnwritable(GoogleError):  # noqa: N818 - it names what is the case
    """Google refuses the policy as it stands, without any addition of ours; the message is one line."""


class Writer(Protocol):
    """Adds a batch to what was written before: `policy_writer.PolicyWriter`. Raises GoogleError."""

    @property
    def present(self) -> Collection[Grant]:
        """What stands in the policy now."""
        ...

    async def write(self, desired_grants: Sequence[DesiredGrant], released: Sequence[Release]) -> None:
        """Write a batch, and what is to go."""
        ...

    def owes(self, released: Sequence[Release]) -> bool:
        """Whether something of what is to go still stands."""
        ...

    async def is_writable(self) -> bool:
        """Whether Google takes the policy as it stands."""
        ...


async def write_isolating(
    writer: Writer,
    desired_grants: Sequence[DesiredGrant],
    released: Sequence[Release],
    *,
    again: bool = False,
) -> dict[Grant, GoogleError]:
    """Write all claims but those that Google refuses; return the refusal of each of these.

    A refused batch is split at the members that the message names, else in two. Before the first split that
    no message guides, what is to go is written alone, and the policy as it stands is tried: PolicyUnwritable
    if it is refused as well. That is not asked for claims that are tried `again`. Any other fault of
    Google's passes through.
    """
    refused: dict[Grant, GoogleError] = {}
    batches = [list(desired_grants)]
    doubted = not again
    while batches:
        batch = batches.pop()
        try:
            await writer.write(batch, released)
        except GoogleError as error:
            if error.fault not in REFUSALS:
                raise
            if not batch:
                raise _unwritable(writer, error) from error
            if doubted and not any(
                _names(error.message, desired_grant.grant.member) for desired_grant in batch
            ):
                doubted = False
                if await _part(writer, released, error):
                    released = ()
                    batches.append(batch)
                    continue
            if len(batch) == 1:
                refused[batch[0].grant] = error
            else:
                batches.extend(reversed(_split(batch, error.message)))
    return refused


def fit(
    desired_grants: Sequence[DesiredGrant], present: Collection[Grant], newest: Collection[Grant], room: int
) -> dict[Grant, GoogleError]:
    """What a policy with so much `room` cannot take of the claims, the newest first, and why.

    A claim that takes the place of a tombstone needs none.
    """
    missing = [
        desired_grant
        for desired_grant in desired_grants
        if (desired_grant.tombstones | {desired_grant.grant}).isdisjoint(present)
    ]
    excess = len(missing) - max(room, 0)
    if excess <= 0:
        return {}
    missing.sort(key=lambda desired_grant: desired_grant.grant in newest)
    full = GoogleError(
        Fault.INVALID_ARGUMENT,
        "",
        f"the policy holds {MAX_PRINCIPALS} members, and Google takes no more; remove some, or grant the "
        "role to a group instead of its members",
    )
    return {desired_grant.grant: full for desired_grant in missing[-excess:]}


async def _part(writer: Writer, released: Sequence[Release], error: GoogleError) -> bool:
    """Write what is to go without the claims, if there is any, lest one of the two be blamed for the other.

    What is to go may be what Google objects to, or refused for itself, as that of a project's last owner is.
    Raises PolicyUnwritable, from the `error` that raised the doubt, where the policy is to blame.
    """
    if writer.owes(released):
        try:
            await writer.write((), released)
        except GoogleError as refusal:
            if refusal.fault not in REFUSALS:
                raise
        else:
            return True
    if not await writer.is_writable():
        raise _unwritable(writer, error) from error
    return writer.owes(released)


def _unwritable(writer: Writer, error: GoogleError) -> PolicyUnwritable:
    named = [grant for grant in writer.present if _names(error.message, grant.member)]
    culprit = f"{named[0]} is what it names" if named else "it names no entry"
    return PolicyUnwritable(
        error.fault,
        error.method,
        f"Google refuses the policy even as it stands, without any change of ours ({error.message}); "
        f"{culprit}: remove that entry by hand",
        code=error.code,
    )


def _split(batch: list[DesiredGrant], message: str) -> tuple[list[DesiredGrant], list[DesiredGrant]]:
    """Two smaller batches. The wording of a message is a hint for where to look, never a verdict."""
    named = [desired_grant for desired_grant in batch if _names(message, desired_grant.grant.member)]
    if 0 < len(named) < len(batch):
        return [desired_grant for desired_grant in batch if desired_grant not in named], named
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _names(message: str, member: str) -> bool:
    address = lower_email(email(member))
    return bool(address) and address in lower_email(message)
