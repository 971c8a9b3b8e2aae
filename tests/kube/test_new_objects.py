"""Both API servers store a new object with a status that kstatus and Argo CD read as in progress."""

import pytest

from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.objects import resource_of
from tests.gitops.answers import described, read_table
from tests.gitops.states import object_in, states
from tests.gitops.test_states import RECONCILED

CREATED = next(states())


@pytest.mark.parametrize("kind", RECONCILED)
async def test_object_that_the_operator_has_not_seen_is_in_progress(
    client: KubeClient, namespace: str, kind: str
) -> None:
    manifest = object_in(kind, CREATED)
    del manifest["status"]
    manifest["metadata"] = {"name": namespace}
    if kind != "ManagedProject":
        manifest["metadata"]["namespace"] = namespace
    created = await client.create(resource_of(manifest), manifest)
    stored = await client.get(resource_of(manifest), namespace, manifest["metadata"].get("namespace", ""))

    answers = {row[:-2]: row[-2:] for row in read_table()}
    for obj in (created, stored):
        assert answers[described(CREATED, obj)] == ("InProgress", "Progressing")
