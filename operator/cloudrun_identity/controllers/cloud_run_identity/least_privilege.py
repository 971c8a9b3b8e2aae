"""Advice on what an identity declares, as its status shows it."""

from collections.abc import Iterable

from cloudrun_identity.api import ConditionStatus, Recommendation
from cloudrun_identity.controllers.conditions import Finding
from cloudrun_identity.controllers.grants.members import Holder
from cloudrun_identity.controllers.grants.wishes import Wish
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.advice import Advice, Given, advise
from cloudrun_identity.iam.grants import Target

AGENT_FIELD = "spec.usableFrom"
"""What is granted to Google's own service agents is no choice of whoever declares it."""


def recommendations(wishes: Iterable[Wish], roles: Roles) -> tuple[Recommendation, ...]:
    """What is advised, by what is known of the roles: those that were admitted have been read."""
    given = [
        Given(
            wish.path,
            wish.target,
            wish.role,
            wish.holder.member,
            roles.known(wish.role, wish.target.project_id),
        )
        for wish in wishes
        if isinstance(wish.target, Target)
        and isinstance(wish.role, str)
        and isinstance(wish.holder, Holder)
        and not wish.path.startswith(AGENT_FIELD)
    ]
    return tuple(map(_recommendation, advise(given)))


def least_privilege(found: tuple[Recommendation, ...]) -> Finding:
    """The condition LeastPrivilege."""
    if not found:
        return Finding(ConditionStatus.TRUE, "NoAdvice", "nothing to recommend")
    kinds = ", ".join(dict.fromkeys(each.kind for each in found))
    return Finding(ConditionStatus.FALSE, "Advice", f"{kinds}: see status.recommendations")


def _recommendation(advice: Advice) -> Recommendation:
    return Recommendation(kind=advice.kind, text=advice.text)
