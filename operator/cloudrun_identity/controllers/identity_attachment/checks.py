"""One line for each thing that was looked at before something is done: the lines of `status.preflight`."""

from cloudrun_identity.api import PreflightCheck, PreflightState
from cloudrun_identity.gcp.permission_checks import AccessState


def line(check: str, hint: AccessState, message: str) -> PreflightCheck:
    """What a hint comes to; `message` says what is missing and what mends it."""
    match hint:
        case AccessState.GRANTED:
            return passed(check)
        case AccessState.NOT_GRANTED:
            return failed(check, message)
        case AccessState.UNKNOWN:
            return unknown(check, f"not known, as far as the operator may look: {message}")


def passed(check: str) -> PreflightCheck:
    """Nothing is missing."""
    return PreflightCheck(check=check, state=PreflightState.PASSED)


def failed(check: str, message: str) -> PreflightCheck:
    """Something is missing."""
    return PreflightCheck(check=check, state=PreflightState.FAILED, message=message)


def unknown(check: str, message: str) -> PreflightCheck:
    """Nobody can tell."""
    return PreflightCheck(check=check, state=PreflightState.UNKNOWN, message=message)
