import pytest

from cloudrun_identity.controllers.probation import GOOD_READS, GRACE, Probation

EMAIL = "checkout@acme.iam.gserviceaccount.com"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def probation(clock: Clock) -> Probation:
    probation = Probation(clock)
    probation.begin(EMAIL)
    return probation


def test_an_account_is_steady_after_enough_good_reads_in_a_row(probation: Probation) -> None:
    reads = [probation.read(EMAIL, found=True) for _ in range(GOOD_READS)]
    assert reads == [False] * (GOOD_READS - 1) + [True]


def test_a_bad_read_starts_the_count_anew(probation: Probation) -> None:
    flapping = [True, True, False, True, True, True]
    assert [probation.read(EMAIL, found=found) for found in flapping] == [False] * 5 + [True]


def test_a_steady_account_stays_fresh_for_a_while(probation: Probation, clock: Clock) -> None:
    probation.end(EMAIL)
    assert not probation.is_on(EMAIL)
    clock.now += GRACE
    assert probation.is_fresh(EMAIL)
    clock.now += 1
    assert not probation.is_fresh(EMAIL)
    clock.now -= 1
    assert not probation.is_fresh(EMAIL), "it is forgotten"


def test_an_account_that_is_gone_is_not_fresh(probation: Probation) -> None:
    probation.forget(EMAIL)
    assert not probation.is_on(EMAIL)
    assert not probation.is_fresh(EMAIL)


def test_what_nobody_made_is_not_fresh(probation: Probation) -> None:
    assert not probation.is_fresh("other@acme.iam.gserviceaccount.com")
    assert not probation.is_on("other@acme.iam.gserviceaccount.com")


def test_bringing_an_account_back_begins_probation_anew(probation: Probation, clock: Clock) -> None:
    probation.read(EMAIL, found=True)
    clock.now += GRACE
    probation.begin(EMAIL)
    clock.now += GRACE
    assert probation.is_fresh(EMAIL)
    assert not probation.read(EMAIL, found=True)
