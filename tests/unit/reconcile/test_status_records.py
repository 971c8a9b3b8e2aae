import copy
from typing import Any

import pytest

from cloudrun_identity.kube.resources import Object
from cloudrun_identity.reconcile.cluster_state import StoredObject
from cloudrun_identity.reconcile.status_records import Records
from tests.unit.controllers.attachments import attachment

FIELDS = {"previous_service_account": "", "workload_uid": "w-1"}
RECORDED = {"observedGeneration": 1, "previousServiceAccount": "", "workloadUID": "w-1"}


class FakeApi:
    """One stored object. `answers` replaces the reply to a write of its status."""

    def __init__(self, raw: Object | None, answers: Any = ...) -> None:
        self.raw = raw
        self.absorbed: list[Object] = []
        self._answers = answers

    def stored(self, key: object) -> StoredObject | None:
        return StoredObject(self.raw, None) if self.raw else None

    def absorb(self, raw: Object) -> None:
        self.absorbed.append(raw)

    async def write_status(self, raw: Object, status: Object) -> Object | None:
        if self._answers is not ...:
            answer: Object | None = self._answers
            return answer
        self.raw = {**copy.deepcopy(raw), "status": status}
        return self.raw


def stored_object() -> Object:
    raw: Object = attachment({}).to_dict()
    return raw


async def recorded(api: Any) -> bool:
    return await Records(api, api, lambda step: None).record(attachment({}), FIELDS)


async def test_record_is_stored_and_absorbed_by_the_cache() -> None:
    api = FakeApi(stored_object())
    assert await recorded(api)
    assert api.raw
    assert api.raw["status"] == RECORDED
    assert api.absorbed == [api.raw]


@pytest.mark.parametrize(
    "api",
    [
        FakeApi(None),
        FakeApi({**stored_object(), "metadata": {"uid": "u-successor"}}),
        FakeApi(stored_object(), answers=None),
        FakeApi(stored_object(), answers={**stored_object(), "status": {"observedGeneration": 1}}),
    ],
    ids=["forgotten", "created again", "deleted", "edited or pruned"],
)
async def test_record_that_was_not_stored_is_reported_as_failed(api: FakeApi) -> None:
    assert not await recorded(api)
