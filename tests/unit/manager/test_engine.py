"""The lists with which an engine starts."""

from cloudrun_identity.api import KINDS, PolicyLedger
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import NAMESPACES, Listing, Object, Resource
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.objects import object_name, to_object
from cloudrun_identity.linting.offline_google import OfflineGoogle
from cloudrun_identity.plan.dry_run import dry_run_session, in_memory

OWN, ELSEWHERE = "cloudrun-identity", "other-operator"
TARGET = Target.project("shop")


def ledger_in(namespace: str) -> Object:
    return to_object(Ledger.of(TARGET), {"name": object_name(TARGET), "namespace": namespace})


async def test_each_listed_object_is_reported_also_ledgers_of_other_operators() -> None:
    """Only what is reported can be missed by the watches, which begin after the lists."""
    project = {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": "ManagedProject",
        "metadata": {"name": "shop"},
        "spec": {"projectID": "shop"},
    }
    client = await in_memory([project, ledger_in(OWN), ledger_in(ELSEWHERE)])
    listed: dict[Resource, Listing[Object]] = {}

    async with dry_run_session(OfflineGoogle(), client, OWN) as run:
        await run.engine.fill(client, KINDS, listed.__setitem__)

    names = {each: [raw["metadata"]["name"] for raw in found.items] for each, found in listed.items()}
    assert names.pop(NAMESPACES) == [OWN, ELSEWHERE]
    assert names.pop(resource(PolicyLedger.__name__)) == 2 * [object_name(TARGET)]
    assert names.pop(resource("ManagedProject")) == ["shop"]
    assert not any(names.values())
