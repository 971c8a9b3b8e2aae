"""Changes of manifests in place: every other byte stays as it is."""

import json
from typing import Any

import pytest
import yaml

from cloudrun_identity.iam.google_findings import FindingState, RoleRecommendation
from cloudrun_identity.recommendations.edits import CannotEdit, changed_object, changed_text
from cloudrun_identity.recommendations.role_change import DeclaredKey, NewRole, RoleChange

KEY = DeclaredKey("CloudRunIdentity", "payments", "checkout")
FOUND = RoleRecommendation("r/1", '"1"', FindingState.ACTIVE, "serviceAccount:a@b.c", "roles/a")
NEW_ROLE = NewRole("used", "used", ("run.jobs.run",), "shop")

TEXT = """\
# The team's project.
kind: Namespace
---
# The identity of the checkout service.
apiVersion: cloudrun-identity.dev/v1alpha1
kind: CloudRunIdentity
metadata: {name: checkout, namespace: "payments"}
spec:
    projectRef: {name: shop}
    roles:  # reviewed in May
      # for the reports
      - role: 'roles/storage.admin'   # too much?
        target: {kind: Project}

      # for the dashboard
      - role: roles/run.viewer
        # until the move
        expiresAt: "2027-01-01T00:00:00Z"
    users: []
---
kind: CloudRunIdentity
metadata: {name: checkout, namespace: other}
spec: {roles: [{role: roles/run.viewer}]}
"""


def change(index: int, *replace_by: str, custom: bool = False) -> RoleChange:
    return RoleChange(KEY, index, FOUND, None, replace_by, NEW_ROLE if custom else None)


def edited(*changes: RoleChange, text: str = TEXT) -> str:
    return changed_text(text, changes, "payments")


def test_only_the_role_of_the_entry_changes() -> None:
    assert edited(change(0, "roles/storage.objectViewer")) == TEXT.replace(
        "'roles/storage.admin'", "roles/storage.objectViewer"
    )


def test_custom_role_takes_the_place_of_the_role() -> None:
    assert edited(change(1, custom=True)) == TEXT.replace(
        "      - role: roles/run.viewer\n", "      - customRoleRef: {name: used}\n", 1
    )


def test_removed_entry_leaves_the_comments_around_it() -> None:
    removed = "      - role: 'roles/storage.admin'   # too much?\n        target: {kind: Project}\n"
    assert edited(change(0)) == TEXT.replace(removed, "")


def test_last_entry_goes_with_its_field() -> None:
    after = edited(change(0), change(1))
    spec = list(yaml.safe_load_all(after))[1]["spec"]
    assert spec == {"projectRef": {"name": "shop"}, "users": []}
    assert "# The identity of the checkout service." in after


def test_further_roles_repeat_the_other_fields_of_the_entry() -> None:
    after = edited(change(1, "roles/a", "roles/b"))
    roles = list(yaml.safe_load_all(after))[1]["spec"]["roles"]
    until = {"expiresAt": "2027-01-01T00:00:00Z"}
    assert roles[1:] == [{"role": "roles/a", **until}, {"role": "roles/b", **until}]


def test_several_entries_change_together() -> None:
    after = edited(change(0), change(1, "roles/run.invoker"))
    assert list(yaml.safe_load_all(after))[1]["spec"]["roles"][0]["role"] == "roles/run.invoker"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_flow_lists_and_json_are_changed_in_place(count: int) -> None:
    roles: list[dict[str, Any]] = [{"role": f"roles/r{index}"} for index in range(count)]
    spec = {"projectRef": {"name": "shop"}, "roles": roles}
    obj = {"kind": "CloudRunIdentity", "metadata": {"name": "checkout"}, "spec": spec}
    for text in (json.dumps(obj, indent=2), yaml.safe_dump(obj, default_flow_style=True)):
        for index in range(count):
            left = yaml.safe_load(edited(change(index), text=text))["spec"]["roles"]
            assert left == roles[:index] + roles[index + 1 :]
            both = yaml.safe_load(edited(change(index, "roles/a", "roles/b"), text=text))["spec"]["roles"]
            assert [each["role"] for each in both][index : index + 2] == ["roles/a", "roles/b"]


def test_item_of_a_list_object_is_changed() -> None:
    item = {
        "kind": "CloudRunIdentity",
        "metadata": {"name": "checkout"},
        "spec": {"roles": [{"role": "roles/r0"}]},
    }
    text = yaml.safe_dump({"kind": "List", "items": [item]})
    after = yaml.safe_load(edited(change(0, "roles/a"), text=text))
    assert after["items"][0]["spec"]["roles"] == [{"role": "roles/a"}]


def test_windows_line_ends_stay() -> None:
    text = TEXT.replace("\n", "\r\n")
    assert edited(change(1), text=text).count("\r\n") == text.count("\r\n") - 3


def test_manifest_with_an_alias_is_refused() -> None:
    text = (
        TEXT.replace("    users: []\n", "")
        .replace(
            "      - role: roles/run.viewer\n", "      - &viewer {role: roles/run.viewer}\n      - *viewer\n"
        )
        .replace('        # until the move\n        expiresAt: "2027-01-01T00:00:00Z"\n', "")
    )
    with pytest.raises(CannotEdit, match="by hand"):
        edited(change(2, "roles/a"), text=text)


def test_identity_that_is_not_in_the_file_is_refused() -> None:
    with pytest.raises(CannotEdit, match="CloudRunIdentity payments/checkout"):
        edited(change(0), text="kind: Namespace\n")


def test_second_change_of_an_entry_is_refused() -> None:
    raw = list(yaml.safe_load_all(TEXT))[1]
    with pytest.raises(CannotEdit, match=r"spec\.roles\[0\]"):
        changed_object(raw, [change(0), change(0)])
    with pytest.raises(CannotEdit, match=r"spec\.roles\[0\]"):
        edited(change(0), change(0, "roles/a"))


@pytest.mark.parametrize("indent", [None, 2])
def test_json_stays_json(indent: int | None) -> None:
    roles = [{"role": "roles/a", "target": {"kind": "Project"}}, {"role": "roles/b"}]
    obj = {"kind": "CloudRunIdentity", "metadata": {"name": "checkout"}, "spec": {"roles": roles}}
    text = json.dumps(obj, indent=indent)
    after = json.loads(edited(change(0, "roles/c", "roles/d"), change(1, custom=True), text=text))
    assert after["spec"]["roles"] == [
        {"role": "roles/c", "target": {"kind": "Project"}},
        {"role": "roles/d", "target": {"kind": "Project"}},
        {"customRoleRef": {"name": "used"}},
    ]
    assert json.loads(edited(change(0), change(1), text=text))["spec"]["roles"] == []
