"""Finding the k grants that Google refuses among N that it takes, in O(k log N) writes."""

from collections.abc import Awaitable, Callable, Sequence

from cloudrun_identity.iam.claims import Claim
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import email, lower_email

from .errors import Fault, GoogleError

REFUSALS = frozenset({Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION})
"""Faults by which Google refuses a policy for what stands in it."""

Write = Callable[[Sequence[Claim]], Awaitable[None]]


async def write_isolating(write: Write, claims: Sequence[Claim]) -> dict[Grant, GoogleError]:
    """Write all claims but those that Google refuses; return the refusal of each of these.

    `write` adds a batch to what was written before and raises GoogleError; a fault other than a refusal
    passes through. A refused batch is split at the members that the message names, else in two.
    """
    refused: dict[Grant, GoogleError] = {}
    batches = [list(claims)]
    while batches:
        batch = batches.pop()
        try:
            await write(batch)
        except GoogleError as error:
            if error.fault not in REFUSALS or not batch:
                raise
            if len(batch) == 1:
                refused[batch[0].grant] = error
            else:
                batches.extend(reversed(_split(batch, error.message)))
    return refused


def _split(batch: list[Claim], message: str) -> tuple[list[Claim], list[Claim]]:
    """Two smaller batches. The wording of a message is a hint for where to look, never a verdict."""
    named = [claim for claim in batch if _names(message, claim.grant.member)]
    if 0 < len(named) < len(batch):
        return [claim for claim in batch if claim not in named], named
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _names(message: str, member: str) -> bool:
    address = lower_email(email(member))
    return bool(address) and address in lower_email(message)
