"""Guardrails that limit how long a grant lasts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.proposals import patch_command

from .guardrail_requests import decided, entry, is_admitted, project, reason, request

HOUR = timedelta(hours=1)
LIMITED = entry(maxDuration="8h")


@pytest.mark.parametrize(
    ("lasts", "admitted"),
    [(HOUR, True), (8 * HOUR, True), (8 * HOUR + timedelta(seconds=1), False), (None, False)],
)
def test_grant_lasts_at_most_as_long_as_the_entry_admits(lasts: timedelta | None, admitted: bool) -> None:
    assert is_admitted(replace(request(), lasts=lasts), project(LIMITED)) is admitted


def test_entry_without_a_limit_admits_temporary_and_permanent_grants() -> None:
    for lasts in (None, HOUR):
        assert is_admitted(replace(request(), lasts=lasts), project(entry(), LIMITED))


def test_denial_of_a_permanent_grant_says_which_duration_to_set() -> None:
    denied = decided(request(), project(LIMITED))
    assert isinstance(denied, Denied)
    assert "guardrails.grants[0]" in denied.reason
    assert "it is permanent; set duration: 8h" in denied.reason
    assert denied.proposals == (), "the author of the grant has the remedy"


def test_denial_of_a_longer_grant_proposes_an_entry_with_that_duration() -> None:
    denied = decided(replace(request(), lasts=90 * timedelta(minutes=6)), project(LIMITED))
    assert isinstance(denied, Denied)
    assert "it lasts 9h;" in denied.reason
    assert '"maxDuration":"9h"' in patch_command(denied.proposals)


def test_denial_names_the_entry_that_admits_the_longest_duration() -> None:
    denied = decided(request(), project(entry(maxDuration="1h"), entry(maxDuration="4h")))
    assert "guardrails.grants[1]" in reason(denied)


def test_entry_that_lacks_a_flag_does_not_explain_the_denial() -> None:
    short = entry(roles=["roles/run.admin"], maxDuration="1h")
    assert "at most" not in reason(decided(request("roles/run.admin"), project(short)))


def test_escalating_role_is_admitted_for_a_limited_time_alone() -> None:
    limited = entry(roles=["roles/run.admin"], allowEscalation=True, maxDuration="1h")
    plain = entry(roles=["roles/run.*"])
    asked = request("roles/run.admin")
    assert is_admitted(replace(asked, lasts=HOUR), project(plain, limited))
    assert "at most 1h" in reason(decided(asked, project(plain, limited)))
