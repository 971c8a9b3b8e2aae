"""The mutation log: one line for every change that the operator makes in Google Cloud."""

import logging

from .errors import one_line
from .requests import request_reason

_log = logging.getLogger("cloudrun_identity.mutations")


def log_mutation(verb: str, resource: str, *, before: str, after: str) -> None:
    """Log that `verb` changed `resource` (its full name) from `before` to `after`. Pass no secrets.

    The line names the reconciled object (`namespace/name@generation`), as Google's audit log does.
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
