"""The log of every change of Google Cloud: one line, before → after."""

import logging

from .clients import request_reason
from .errors import one_line

_log = logging.getLogger("cloudrun_identity.mutations")


def mutated(verb: str, resource: str, *, before: str, after: str) -> None:
    """Log that `verb` turned `resource` (its full name) from `before` to `after`; neither may be secret.

    The line says on whose behalf (`namespace/name@generation`), as Google's audit log does.
    """
    before, after = one_line(before), one_line(after)
    _log.info(
        "%s %s: %s → %s",
        verb,
        resource,
        before,
        after,
        extra={
            "verb": verb,
            "resource": resource,
            "before": before,
            "after": after,
            "on_behalf_of": request_reason.get(),
        },
    )
