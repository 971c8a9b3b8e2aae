from collections.abc import Mapping

from cloudrun_identity_playground.demo.comparison import Line, Mark, Section, compare
from cloudrun_identity_playground.demo.google import CloudState, Policy

PROJECT = "//cloudresourcemanager.googleapis.com/projects/acme-flows"
SERVICE = "//run.googleapis.com/projects/acme-shop/locations/europe-west1/services/checkout"


def cloud(
    policies: Mapping[str, Policy] | None = None, workloads: Mapping[str, str] | None = None
) -> CloudState:
    return CloudState(policies=policies or {}, accounts_of_workloads=workloads or {})


def test_added_member_is_marked_and_others_are_not() -> None:
    before = cloud({PROJECT: {"roles/run.admin": ("user:dana@example.com",)}})
    now = cloud({PROJECT: {"roles/run.admin": ("user:dana@example.com", "group:ops@example.com")}})

    assert list(compare(before, now)) == [
        Section(
            "Project acme-flows grants",
            (
                Line(Mark.KEPT, "roles/run.admin"),
                Line(Mark.KEPT, "user:dana@example.com", depth=1),
                Line(Mark.ADDED, "group:ops@example.com", depth=1),
            ),
        )
    ]


def test_added_role_is_marked_with_all_members() -> None:
    (section,) = compare(cloud(), cloud({PROJECT: {"roles/run.admin": ("group:ops@example.com",)}}))

    assert section.is_changed
    assert [line.mark for line in section.lines] == [Mark.ADDED, Mark.ADDED]


def test_removed_member_is_shown_in_its_old_place() -> None:
    before = cloud({PROJECT: {"roles/viewer": ("user:a@example.com", "user:b@example.com")}})
    (section,) = compare(before, cloud({PROJECT: {"roles/viewer": ("user:b@example.com",)}}))

    assert [str(line) for line in section.lines] == [
        "  roles/viewer",
        "-   user:a@example.com",
        "    user:b@example.com",
    ]


def test_workload_with_a_new_account_shows_both_accounts() -> None:
    (section,) = compare(cloud(workloads={SERVICE: "old@x"}), cloud(workloads={SERVICE: "new@x"}))

    assert section.heading == "Service acme-shop/europe-west1/checkout runs as"
    assert [str(line) for line in section.lines] == ["- old@x", "+ new@x"]


def test_unchanged_workload_shows_one_account() -> None:
    (section,) = compare(cloud(workloads={SERVICE: "old@x"}), cloud(workloads={SERVICE: "old@x"}))

    assert not section.is_changed
    assert [str(line) for line in section.lines] == ["  old@x"]


def test_resource_without_bindings_is_omitted() -> None:
    assert list(compare(cloud({PROJECT: {}}), cloud({PROJECT: {}}))) == []
