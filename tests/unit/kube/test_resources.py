"""Paths of the API."""

import pytest

from cloudrun_identity.kube.objects import resource, resource_of
from cloudrun_identity.kube.resources import EVENTS, LEASES, NAMESPACES


def test_core_and_group_resources_have_different_roots() -> None:
    assert EVENTS.path("payments", "web.1") == "/api/v1/namespaces/payments/events/web.1"
    assert LEASES.path("ops", "x") == "/apis/coordination.k8s.io/v1/namespaces/ops/leases/x"


def test_without_a_namespace_the_collection_is_that_of_all() -> None:
    assert EVENTS.path() == "/api/v1/events"


def test_cluster_scoped_resources_ignore_the_namespace() -> None:
    assert NAMESPACES.path("ignored", "payments") == "/api/v1/namespaces/payments"


def test_a_subresource_comes_last() -> None:
    assert resource("IAMBinding").path("a", "b", "status").endswith("/namespaces/a/iambindings/b/status")


def test_names_are_quoted() -> None:
    assert NAMESPACES.path("", "a/../b") == "/api/v1/namespaces/a%2F..%2Fb"


def test_our_kinds_are_found_by_their_objects() -> None:
    assert resource_of({"kind": "ManagedProject"}).path("", "p") == (
        "/apis/cloudrun-identity.dev/v1alpha1/managedprojects/p"
    )


def test_other_kinds_are_not_ours() -> None:
    with pytest.raises(KeyError):
        resource("Pod")
