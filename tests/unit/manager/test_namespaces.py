"""Admitted namespaces of a project: computed once, and again after each change."""

from typing import Any

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.manager.namespaces import Namespaces


def project_for(**namespaces: Any) -> ManagedProject:
    return ManagedProject.model_validate(
        {"metadata": {"name": "payments-prod"}, "spec": {"namespaces": namespaces}}
    )


def observe(namespaces: Namespaces, name: str, *, deleted: bool = False, **metadata: Any) -> bool:
    return namespaces.observe({"metadata": {"name": name, **metadata}}, deleted=deleted)


def test_project_admits_existing_namespaces_it_names_or_selects() -> None:
    namespaces, project = (
        Namespaces(),
        project_for(names=["payments", "late"], selector={"matchLabels": {"a": "b"}}),
    )
    observe(namespaces, "payments")
    observe(namespaces, "shop", labels={"a": "b"})
    observe(namespaces, "unmatched", labels={"a": "c"})
    admitted = namespaces.admitted_by(project)
    assert admitted == {"payments", "shop"}
    assert namespaces.admitted_by(project) is admitted, "the result is cached"


def test_changes_of_namespaces_and_projects_apply_immediately() -> None:
    namespaces, project = Namespaces(), project_for(names=["late"], selector={"matchLabels": {"a": "b"}})
    observe(namespaces, "shop", labels={"a": "b"})
    assert namespaces.admitted_by(project) == {"shop"}
    assert observe(namespaces, "late")
    assert namespaces.admitted_by(project) == {"shop", "late"}
    assert observe(namespaces, "shop", labels={"a": "c"})
    assert namespaces.admitted_by(project) == {"late"}
    assert namespaces.admitted_by(project_for(names=["shop"])) == {"shop"}
    assert observe(namespaces, "late", deleted=True)
    assert namespaces.admitted_by(project) == set()


def test_irrelevant_change_of_a_namespace_is_ignored() -> None:
    namespaces, project = Namespaces(), project_for(names=["shop"])
    observe(namespaces, "shop")
    admitted = namespaces.admitted_by(project)
    assert not observe(namespaces, "shop", resourceVersion="2", annotations={"a": "b"})
    assert namespaces.admitted_by(project) is admitted


def test_terminating_namespace_stays_admitted_until_deleted() -> None:
    namespaces, project = Namespaces(), project_for(names=["shop"])
    observe(namespaces, "shop")
    assert observe(namespaces, "shop", deletionTimestamp="2026-01-01T00:00:00Z")
    assert namespaces.is_terminating("shop")
    assert namespaces.admitted_by(project) == {"shop"}
    assert observe(namespaces, "shop", deleted=True)
    assert not namespaces.is_terminating("shop")
