"""Writes with an unknown outcome. Only this module looks up whether a write took effect.

A create has no key by which Google recognizes a second one. If its answer is lost, or does not say what
happened (UNKNOWN, DATA_LOSS, DEADLINE_EXCEEDED, or ABORTED without an etag), it may have taken effect. Every
caller records what it is about to do, writes through `written_or_found`, and removes the record only after a
refusal that is certain.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from .errors import Fault, GoogleError

Result = TypeVar("Result")


async def written_or_found(
    write: Callable[[], Awaitable[Result]], find: Callable[[], Awaitable[Result | None]]
) -> Result:
    """Return the result of a write. Look it up if the answer does not show whether the write took effect.

    `find` returns what the write would have brought about; None if Google does not show it. That proves
    nothing, because reads lag.

    Raises:
        GoogleError: Of the write. Only if it is not `undecided`, the write certainly had no effect.

    """
    try:
        return await write()
    except GoogleError as error:
        # A replica may answer ABORTED to a write that another one carried out, even if it has an etag.
        if not error.undecided and error.fault is not Fault.ABORTED:
            raise
        try:
            found = await find()
        except GoogleError:
            found = None
        if found is None:
            raise
        return found
