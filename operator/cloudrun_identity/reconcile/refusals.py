"""Refusals by guardrails, combined into one message with the command that admits the object."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cloudrun_identity.api import Reason
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.proposals import Proposal, patch_command

from .outcomes import Outcome, Refused

_SHOWN = 5  # refusals that a message has before it counts the rest
_LONGEST_COMMAND = 8192
"""Characters of a command in a message. A longer one would be cut, or hide the rest of the status."""


def reason_of(denied: Denied) -> Reason:
    """Return the reason of the Ready condition for a denial."""
    return Reason.INVALID_SPEC if denied.invalid_entry else Reason.DENIED_BY_GUARDRAIL


def refusal(denied: Denied, path: str = "") -> Refused:
    """Return the outcome for a denial; `path` is the field that requests what is denied."""
    message = f"{path}: {denied.reason}" if path else denied.reason
    return Refused(reason_of(denied), message, denied.proposals)


def is_denied(outcome: Outcome) -> bool:
    """Return whether a guardrail refuses the object."""
    return isinstance(outcome, Refused) and outcome.reason is Reason.DENIED_BY_GUARDRAIL


def with_remedy(shown: Outcome, outcomes: Iterable[Outcome] = ()) -> tuple[Outcome, Sequence[Outcome]]:
    """Return the outcome to show, with all refusals that have a remedy, and the outcomes that it leaves out.

    The message ends with one command that admits all that was refused: `outcomes` are those of the parts of
    the object.
    """
    others = [each for each in dict.fromkeys(outcomes) if each != shown]
    if not isinstance(shown, Refused):
        return shown, others
    refused = [each for each in others if isinstance(each, Refused) and each.proposals]
    proposals = [proposal for each in (shown, *refused) for proposal in each.proposals]
    if not proposals:
        return shown, others
    messages = [each.message for each in (shown, *refused)]
    hidden = len(messages) - _SHOWN
    more = f"; and {hidden} more" if hidden > 0 else ""
    warning = " (this permits privilege escalation)" if any(each.escalates for each in proposals) else ""
    message = f"{'; '.join(messages[:_SHOWN])}{more}. To admit this{warning}, {_remedy(proposals)}"
    return replace(shown, message=message, proposals=()), [each for each in others if each not in refused]


def _remedy(proposals: Iterable[Proposal]) -> str:
    """Return the command that makes the changes, or the fields to edit if the command is too long."""
    listed = list(proposals)
    command = patch_command(listed)
    if len(command) <= _LONGEST_COMMAND:
        return f"run as an administrator of the project: {command}"
    fields = sorted({f"{each.path.strip('/').replace('/', '.')} of {each.project}" for each in listed})
    return (
        f"an administrator of the project edits {', '.join(fields)}: add patterns, because a list of all "
        "that is refused is too long for a command"
    )
