"""URL paths of resources."""

import pytest

from cloudrun_identity.kube.objects import resource, resource_of
from cloudrun_identity.kube.resources import EVENTS, LEASES, NAMESPACES


def test_core_and_named_groups_have_different_roots() -> None:
    assert EVENTS.path("payments", "web.1") == "/api/v1/namespaces/payments/events/web.1"
    assert LEASES.path("ops", "x") == "/apis/coordination.k8s.io/v1/namespaces/ops/leases/x"


def test_path_without_namespace_is_the_collection_of_all_namespaces() -> None:
    assert EVENTS.path() == "/api/v1/events"


def test_cluster_scoped_resources_ignore_the_namespace() -> None:
    assert NAMESPACES.path("ignored", "payments") == "/api/v1/namespaces/payments"


def test_subresource_is_the_last_path_segment() -> None:
    assert resource("IAMBinding").path("a", "b", "status").endswith("/namespaces/a/iambindings/b/status")


def test_names_are_percent_encoded() -> None:
    assert NAMESPACES.path("", "a/../b") == "/api/v1/namespaces/a%2F..%2Fb"


def test_resource_is_derived_from_the_kind_of_an_object() -> None:
    assert resource_of({"kind": "ManagedProject"}).path("", "p") == (
        "/apis/cloudrun-identity.dev/v1alpha1/managedprojects/p"
    )


def test_unknown_kind_raises_key_error() -> None:
    with pytest.raises(KeyError):
        resource("Pod")
