from dataclasses import replace

from cloudrun_identity.controllers.cloud_run_identity.recent_writes import STALE, RecentWrites
from cloudrun_identity.gcp.service_accounts import ServiceAccount

FIRST = ServiceAccount("acme", "a@acme.iam.gserviceaccount.com", "111", "one")
SECOND = replace(FIRST, display_name="two", disabled=True)
THIRD = replace(SECOND, display_name="three")


class Writes(RecentWrites):
    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(lambda: self.now)


def test_what_a_write_replaced_is_taken_for_a_stale_read_for_a_while() -> None:
    writes = Writes()
    writes.wrote(FIRST, SECOND)
    assert writes.seen_through(FIRST) == SECOND
    writes.now = STALE
    assert writes.seen_through(FIRST) == FIRST


def test_every_state_before_the_last_write_is_stale() -> None:
    writes = Writes()
    writes.wrote(FIRST, SECOND)
    writes.wrote(SECOND, THIRD)
    assert writes.seen_through(FIRST) == THIRD
    assert writes.seen_through(SECOND) == THIRD


def test_what_somebody_else_writes_is_seen_at_once() -> None:
    writes = Writes()
    writes.wrote(FIRST, SECOND)
    theirs = replace(SECOND, display_name="theirs", description="new")
    assert writes.seen_through(theirs) == theirs


def test_another_account_of_the_same_email_is_seen_as_it_is() -> None:
    writes = Writes()
    writes.wrote(FIRST, SECOND)
    other = replace(FIRST, unique_id="222")
    assert writes.seen_through(other) == other
