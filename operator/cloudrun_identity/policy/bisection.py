"""Bisection: find the k grants that Google Cloud refuses among N others, in O(k log N) writes."""

import re
from collections.abc import Collection, Sequence
from typing import Protocol

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import email, lower_email

from .desired_grants import DesiredGrant
from .merge import Removal

REFUSALS = frozenset({Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION})
"""The faults with which Google Cloud refuses the content of a policy."""


class PolicyUnwritable(GoogleError):
    """Google Cloud refuses the policy even without a change. The message is one line."""


class Writer(Protocol):
    """Writes batches, each in addition to the former ones; raises GoogleError. See `writer.PolicyWriter`."""

    @property
    def present(self) -> Collection[Grant]:
        """The grants in the policy now."""
        ...

    async def write(self, desired_grants: Sequence[DesiredGrant], removals: Sequence[Removal]) -> None:
        """Add a batch of desired grants, and apply the removals."""
        ...

    def contains_any(self, removals: Sequence[Removal]) -> bool:
        """Return whether a grant to remove is present."""
        ...

    async def is_writable(self) -> bool:
        """Return whether Google Cloud accepts the policy without a change."""
        ...


async def write_with_bisection(
    writer: Writer,
    desired_grants: Sequence[DesiredGrant],
    removals: Sequence[Removal],
    *,
    retry: bool = False,
) -> dict[Grant, GoogleError]:
    """Write all desired grants but those that Google Cloud refuses. Return the refusals by grant.

    If the error message says by how much a limit is exceeded, the last grants are refused. Otherwise a
    refused batch is split at the members that the message names, or in half. Before the first split
    without such a name, the removals are written alone, and the policy is tested without a change. A `retry`
    of refused grants skips this test.

    Raises:
        PolicyUnwritable: Google Cloud refuses the policy even without a change.
        GoogleError: any fault that is no refusal.

    """
    refused: dict[Grant, GoogleError] = {}
    batches = [list(desired_grants)]
    untested = not retry
    while batches:
        batch = batches.pop()
        try:
            await writer.write(batch, removals)
        except GoogleError as error:
            if error.fault not in REFUSALS:
                raise
            if not batch:
                raise _unwritable(writer, error) from error
            if last := _last(_excess(error.message), batch, writer.present):
                refused |= dict.fromkeys(last, error)
                if rest := [desired for desired in batch if desired.grant not in last]:
                    batches.append(rest)
                continue
            if untested and not any(_names(error.message, desired.grant.member) for desired in batch):
                untested = False
                if await _write_removals_alone(writer, removals, error):
                    removals = ()
                    batches.append(batch)
                    continue
            if len(batch) == 1:
                refused[batch[0].grant] = error
            else:
                batches.extend(reversed(_split(batch, error.message)))
    return refused


async def _write_removals_alone(writer: Writer, removals: Sequence[Removal], error: GoogleError) -> bool:
    """Write the removals without the desired grants. Return whether there were any.

    Google Cloud may have refused a grant that the removals end, or the removals, such as that of the last
    owner of a project. Raises PolicyUnwritable, from the `error` of the whole batch, if Google Cloud refuses
    the policy without a change.
    """
    if writer.contains_any(removals):
        try:
            await writer.write((), removals)
        except GoogleError as refusal:
            if refusal.fault not in REFUSALS:
                raise
        else:
            return True
    if not await writer.is_writable():
        raise _unwritable(writer, error) from error
    return writer.contains_any(removals)


def _unwritable(writer: Writer, error: GoogleError) -> PolicyUnwritable:
    named = [grant for grant in writer.present if _names(error.message, grant.member)]
    culprit = f"it names {named[0]}" if named else "it names no entry"
    return PolicyUnwritable(
        error.fault,
        error.method,
        f"Google Cloud refuses the policy even without a change by the operator ({error.message}); "
        f"{culprit}: remove the entry by hand",
        code=error.code,
    )


def _split(batch: list[DesiredGrant], message: str) -> tuple[list[DesiredGrant], list[DesiredGrant]]:
    """Return two smaller batches. The error message only hints at the refused members."""
    named = [desired for desired in batch if _names(message, desired.grant.member)]
    if 0 < len(named) < len(batch):
        return [desired for desired in batch if desired not in named], named
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _excess(message: str) -> int:
    """Return the number by which a batch exceeds a limit, from the error message; 0 if it has none.

    The message is only a hint: the rest of the batch is written, and split if it is refused, too. Its wording
    is that of terraform-provider-google issue 25093 and kubeflow/pipelines issue 1146.
    """
    found = _TOO_MANY.search(message)
    return int(found[1].replace(",", "")) - int(found[2].replace(",", "")) if found else 0


def _last(number: int, batch: Sequence[DesiredGrant], present: Collection[Grant]) -> list[Grant]:
    """Return this number of grants of a batch that are absent, the last ones; none if there are fewer."""
    absent = [desired.grant for desired in batch if desired.grant not in present]
    return absent[-number:] if 0 < number <= len(absent) else []


_TOO_MANY = re.compile(r"\(([\d,]+)\) is larger than the maximum allowed size ([\d,]+)")


def _names(message: str, member: str) -> bool:
    address = lower_email(email(member))
    return bool(address) and address in lower_email(message)
