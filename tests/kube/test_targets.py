"""Both API servers accept a target of each kind, and name the field of one that is not complete."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import API_VERSION, TargetKind
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import Object
from tests.target_resources import DATA_KINDS, declared
from tests.target_resources import resource_of as target_of

CONTAINERS = [Target(kind, "shop", name="42") for kind in (TargetKind.FOLDER, TargetKind.ORGANIZATION)]
FUNCTION = target_of(TargetKind.RESOURCE).full_name
TARGETS = [*map(target_of, DATA_KINDS), *CONTAINERS]


def binding(namespace: str, name: str, target: Object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "IAMBinding",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "projectRef": {"name": "shop"},
            "target": target,
            "role": "roles/viewer",
            "members": [{"principal": "group:ops@example.com"}],
        },
    }


async def test_target_of_each_kind_is_accepted(client: KubeClient, namespace: str) -> None:
    for target in TARGETS:
        manifest = binding(namespace, target.kind.lower(), declared(target))
        stored = await client.create(resource_of(manifest), manifest)
        assert stored["spec"]["target"] == declared(target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"kind": "KMSCryptoKey", "location": "us", "name": "cards"}, "spec.target.keyRing: "),
        ({"kind": "SpannerDatabase", "name": "main"}, "spec.target.instance: "),
        ({"kind": "StorageBucket", "location": "us", "name": "exports"}, "spec.target.location: "),
        ({"kind": "StorageBucket", "name": "Exports"}, "must be the name of a bucket"),
        ({"kind": "SpannerInstance", "name": "orders", "instance": "o"}, "spec.target.instance: "),
        ({"kind": "Folder", "name": "shop"}, "must be the number of a folder"),
        ({"kind": "Organization", "name": "acme.com"}, "must be the number of an organization"),
        (
            {"kind": "CloudTasksQueue", "location": "europe-west1-b", "name": "a"},
            "a region or a multi-region",
        ),
        (
            {"kind": "KMSCryptoKey", "location": "us", "keyRing": "a/b", "name": "c"},
            "name of a key ring",
        ),
        ({"kind": "SpannerDatabase", "instance": "orders", "name": "m" * 31}, "at most 30 characters"),
        ({}, "spec.target.resource: "),
        ({"name": "web"}, "must be set where kind is Resource or unset"),
        ({"kind": "Resource"}, "spec.target.resource: "),
        ({"kind": "Secret", "name": "a", "resource": FUNCTION}, "spec.target.resource: "),
        ({"resource": FUNCTION, "name": "web"}, "spec.target.name: "),
        ({"resource": FUNCTION, "location": "europe-west1"}, "spec.target.location: "),
        (
            {"resource": FUNCTION, "email": "a@shop.iam.gserviceaccount.com"},
            "exactly one of identityRef",
        ),
        ({"resource": f"{FUNCTION}/"}, "must be //SERVICE.googleapis.com/projects/PROJECT/NAME"),
        ({"resource": f"{FUNCTION}\n"}, "must be //SERVICE.googleapis.com/projects/PROJECT/NAME"),
        ({"resource": FUNCTION.replace("/shop/", "/-/")}, "must be //SERVICE.googleapis.com"),
        ({"resource": FUNCTION.replace(".com", ".com.evil.org")}, "must be //SERVICE.googleapis.com"),
        ({"resource": f"{FUNCTION}{'x' * 400}"}, "400"),
    ],
    ids=str,
)
async def test_invalid_target_is_refused_with_its_field(
    client: KubeClient, namespace: str, target: Object, message: str
) -> None:
    manifest = binding(namespace, "invalid", target)
    with pytest.raises(KubeError) as raised:
        await client.create(resource_of(manifest), manifest)
    assert message in str(raised.value)


def test_manifest_of_a_target_names_all_its_parts() -> None:
    key = target_of(TargetKind.KMS_CRYPTO_KEY)
    assert declared(replace(key, name="cards")) == {
        "kind": "KMSCryptoKey",
        "location": "europe-west1",
        "keyRing": key.parent,
        "name": "cards",
    }
