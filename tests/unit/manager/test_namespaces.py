"""Which namespaces a project admits: worked out once, and anew after every change."""

from typing import Any

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.manager.namespaces import Namespaces


def delegated(**namespaces: Any) -> ManagedProject:
    return ManagedProject.model_validate(
        {"metadata": {"name": "payments-prod"}, "spec": {"namespaces": namespaces}}
    )


def observe(namespaces: Namespaces, name: str, *, deleted: bool = False, **metadata: Any) -> bool:
    return namespaces.observe({"metadata": {"name": name, **metadata}}, deleted=deleted)


def test_a_project_admits_those_that_exist_and_that_it_names_or_selects() -> None:
    namespaces, project = (
        Namespaces(),
        delegated(names=["payments", "late"], selector={"matchLabels": {"a": "b"}}),
    )
    observe(namespaces, "payments")
    observe(namespaces, "shop", labels={"a": "b"})
    observe(namespaces, "stranger", labels={"a": "c"})
    admitted = namespaces.admitted_by(project)
    assert admitted == {"payments", "shop"}
    assert namespaces.admitted_by(project) is admitted, "asked again, it is not worked out again"


def test_every_change_of_a_namespace_or_of_the_project_counts_at_once() -> None:
    namespaces, project = Namespaces(), delegated(names=["late"], selector={"matchLabels": {"a": "b"}})
    observe(namespaces, "shop", labels={"a": "b"})
    assert namespaces.admitted_by(project) == {"shop"}
    assert observe(namespaces, "late")
    assert namespaces.admitted_by(project) == {"shop", "late"}
    assert observe(namespaces, "shop", labels={"a": "c"})
    assert namespaces.admitted_by(project) == {"late"}
    assert namespaces.admitted_by(delegated(names=["shop"])) == {"shop"}
    assert observe(namespaces, "late", deleted=True)
    assert namespaces.admitted_by(project) == set()


def test_what_says_nothing_new_makes_no_difference() -> None:
    namespaces, project = Namespaces(), delegated(names=["shop"])
    observe(namespaces, "shop")
    admitted = namespaces.admitted_by(project)
    assert not observe(namespaces, "shop", resourceVersion="2", annotations={"a": "b"})
    assert namespaces.admitted_by(project) is admitted


def test_a_namespace_on_its_way_out_is_there_to_the_end() -> None:
    namespaces, project = Namespaces(), delegated(names=["shop"])
    observe(namespaces, "shop")
    assert observe(namespaces, "shop", deletionTimestamp="2026-01-01T00:00:00Z")
    assert namespaces.is_terminating("shop")
    assert namespaces.admitted_by(project) == {"shop"}
    assert observe(namespaces, "shop", deleted=True)
    assert not namespaces.is_terminating("shop")
