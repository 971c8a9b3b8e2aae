from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.bindings import ROLE, UNMANAGED_PROJECT_ID, Bindings, member
from cloudrun_identity.api import IAMBinding, ManagedProject
from cloudrun_identity_playground.emulator.seed_file import load_seed


def test_objects_are_evenly_spread_over_the_projects() -> None:
    bindings = [IAMBinding.model_validate(each) for each in Bindings(30, 10).objects()]
    assert set(Counter(each.spec.project_ref.name for each in bindings).values()) == {3}
    assert len({each.metadata.name for each in bindings}) == 30


def test_every_object_has_one_admitted_member() -> None:
    bindings = Bindings(3, 1)
    (project,) = (ManagedProject.model_validate(each) for each in bindings.projects("1h"))
    (entry,) = project.spec.guardrails.grants
    objects = [IAMBinding.model_validate(each) for each in bindings.objects()]
    members = [each.principal or "" for obj in objects for each in obj.spec.members]
    assert members == [member(0), member(1), member(2)]
    assert all(fnmatchcase(each, pattern) for each in members for pattern in entry.members)
    assert {obj.spec.role for obj in objects} == {ROLE} == set(entry.roles)


def test_seed_has_every_project_and_an_unmanaged_one(tmp_path: Path) -> None:
    bindings = Bindings(1, 3)
    bindings.write_seed(tmp_path / "seed.yaml")
    projects = load_seed(tmp_path / "seed.yaml").projects
    assert {each.project_id for each in projects} == {*bindings.project_ids, UNMANAGED_PROJECT_ID}
    assert all(each.policy for each in projects), "unmanaged grants exist"


def test_edited_bindings_have_members_of_no_other_binding() -> None:
    bindings = Bindings(3, 1)
    members = [each["spec"]["members"][0]["principal"] for each in bindings.objects() + bindings.edited(2)]
    assert len(set(members)) == 5
    assert [each["metadata"]["name"] for each in bindings.edited(2)] == ["person-00000", "person-00001"]
