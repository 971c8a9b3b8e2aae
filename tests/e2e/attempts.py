"""Attempts of one kind, made together (`Attempts`): the calls to Google, and the messages to the tenant."""

import json
from collections.abc import Mapping

import pytest
from kubernetes.client import ApiException

from tests.e2e.cluster import GROUP, VERSION, Object
from tests.e2e.tenants import Attempt, Tenants


class Attempts:
    """Objects in Mallory's namespace, one for each attempt. They are applied together, which saves time.

    Google's audit log has the object of each call as the reason of the request, so that the calls of one
    attempt are known.
    """

    def __init__(self, tenants: Tenants, table: Mapping[str, Attempt]) -> None:
        self._tenants = tenants
        self._table = table
        self._cloud = tenants.cloud()
        self._calls = tenants.calls_for()
        self._objects = {
            title: tenants.apply(attempt.kind, attempt.spec, f"attempt-{number}")
            for number, (title, attempt) in enumerate(table.items())
        }

    def check(self, title: str) -> str:
        """Check that an attempt is refused, by which message, and after which calls; return the message."""
        tenants, attempt, name = self._tenants, self._table[title], self._objects[title]
        message = tenants.scene.fails(
            name, attempt.reason, saying=tenants.text(attempt.refusal), namespace=tenants.mallory
        )
        assert tenants.scene.is_stalled(name, namespace=tenants.mallory) is attempt.is_final
        self._check_calls(title)
        return message

    def end(self) -> None:
        """Delete the objects, and check that nothing changed, and that Google was asked nothing else."""
        tenants = self._tenants
        for name in self._objects.values():
            tenants.scene.delete(name, namespace=tenants.mallory)
        tenants.scene.wait_until_deleted(*self._objects.values(), namespace=tenants.mallory)
        assert tenants.cloud() == self._cloud
        for title in self._objects:
            self._check_calls(title)
        may_call = {rpc for attempt in self._table.values() for rpc in attempt.may_call}
        surplus = set(tenants.calls_for() - self._calls) - may_call
        assert not surplus, f"Google was asked {surplus}"

    def _check_calls(self, title: str) -> None:
        surplus = set(self._tenants.calls_for(self._objects[title])) - set(self._table[title].may_call)
        assert not surplus, f"Google was asked {surplus} for: {title}"


def refused_at_once(tenants: Tenants, manifest: Object, field: str) -> None:
    """Check that the API server refuses an object of Mallory because of a field."""
    with pytest.raises(ApiException) as raised:
        tenants.scene.cluster.create({"apiVersion": f"{GROUP}/{VERSION}", **manifest})
    assert raised.value.status == 422, raised.value.body
    causes = json.loads(str(raised.value.body))["details"]["causes"]
    assert field in {cause.get("field") for cause in causes}, causes
