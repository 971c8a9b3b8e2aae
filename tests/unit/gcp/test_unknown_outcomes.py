"""Writes with an unknown outcome."""

import pytest

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.unknown_outcomes import written_or_found

LOST = GoogleError(Fault.UNAVAILABLE, "m", "no answer")
REFUSED = GoogleError(Fault.PERMISSION_DENIED, "m", "no")


class Service:
    """A write and a lookup with the given results; exceptions are raised."""

    def __init__(self, written: str | Exception, found: str | Exception | None = None) -> None:
        self.written = written
        self.found = found
        self.lookups = 0

    async def write(self) -> str:
        if isinstance(self.written, Exception):
            raise self.written
        return self.written

    async def find(self) -> str | None:
        self.lookups += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


async def test_answered_write_is_not_looked_up() -> None:
    service = Service("written")

    assert await written_or_found(service.write, service.find) == "written"
    assert service.lookups == 0


async def test_write_without_an_answer_is_looked_up() -> None:
    service = Service(LOST, "found")

    assert await written_or_found(service.write, service.find) == "found"


async def test_aborted_write_is_looked_up_although_it_has_an_etag() -> None:
    aborted = GoogleError(Fault.ABORTED, "m", "stale etag")
    assert not aborted.undecided
    service = Service(aborted, "found")

    assert await written_or_found(service.write, service.find) == "found"


async def test_refused_write_is_not_looked_up() -> None:
    service = Service(REFUSED, "found")

    with pytest.raises(GoogleError) as raised:
        await written_or_found(service.write, service.find)
    assert raised.value is REFUSED
    assert service.lookups == 0


@pytest.mark.parametrize("found", [None, GoogleError(Fault.UNAVAILABLE, "m", "no answer either")])
async def test_write_that_is_not_found_stays_undecided(found: Exception | None) -> None:
    service = Service(LOST, found)

    with pytest.raises(GoogleError) as raised:
        await written_or_found(service.write, service.find)
    assert raised.value is LOST
    assert raised.value.undecided
