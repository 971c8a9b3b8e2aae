from typing import Any

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.iam.delegation import delegation


def managed_project(*grants: dict[str, Any]) -> ManagedProject:
    return ManagedProject.model_validate(
        {"metadata": {"name": "shop-1234"}, "spec": {"guardrails": {"grants": grants}}}
    )


def entry(*roles: str, kinds: tuple[str, ...] = ("Project",)) -> dict[str, Any]:
    return {"roles": roles, "targetKinds": kinds, "members": ["*"], "names": ["x"]}


def test_condition_lists_only_roles_admitted_on_the_project() -> None:
    admitted = delegation(
        managed_project(
            entry("roles/viewer", "roles/cloudsql.client"),
            entry("roles/viewer"),
            entry("roles/secretmanager.secretAccessor", kinds=("Secret",)),
        )
    )
    assert admitted.expression == (
        "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', [])"
        ".hasOnly(['roles/cloudsql.client', 'roles/viewer'])"
    )
    assert admitted.patterns == ()


def test_role_patterns_are_listed_separately() -> None:
    admitted = delegation(managed_project(entry("roles/viewer", "roles/run.*")))
    assert (admitted.roles, admitted.patterns) == (("roles/viewer",), ("roles/run.*",))
