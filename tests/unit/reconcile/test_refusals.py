"""Test refusals by guardrails, combined into one message of bounded length."""

from cloudrun_identity.api import ManagedProject, Reason
from cloudrun_identity.iam.proposals import proposed_entry
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity.reconcile.refusals import with_remedy

PROJECT = ManagedProject.model_validate(
    {"kind": "ManagedProject", "metadata": {"name": "shop"}, "spec": {"projectID": "acme-shop"}}
)


def refused(number: int) -> Refused:
    member = f"user:{number:04}@example.com"
    entry = proposed_entry(PROJECT, "grants", {"roles": ("roles/viewer",), "members": (member,)})
    return Refused(Reason.DENIED_BY_GUARDRAIL, f"spec.members[{number}]: {member} is not admitted", (entry,))


def message_for(count: int) -> str:
    outcomes = [refused(number) for number in range(count)]
    shown, others = with_remedy(outcomes[0], outcomes)
    assert isinstance(shown, Refused)
    assert not others
    return shown.message


def test_one_command_admits_everything_that_is_refused() -> None:
    message = message_for(100)
    assert "spec.members[4]: user:0004@example.com is not admitted; and 95 more. To admit this" in message
    assert "run as an administrator of the project: kubectl patch managedproject shop --type=json" in message
    assert "user:0099@example.com" in message


def test_refusal_of_1500_members_names_the_field_instead_of_a_command() -> None:
    message = message_for(1500)
    assert len(message) < 1000
    assert "and 1495 more. To admit this, an administrator of the project edits" in message
    assert "spec.guardrails.grants of shop: add patterns" in message
    assert "kubectl" not in message
