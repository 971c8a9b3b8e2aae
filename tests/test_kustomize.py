"""Test `kustomize/`: the references that kustomize rewrites when it renames objects.

`tests/data/kustomize` has the output of kustomize for two overlays. The tests compare it with that of the
kustomize or kubectl on this machine, if there is one.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.crd import generate
from cloudrun_identity.api.validation import complaints
from tests.time_budget import HUNG_AFTER
from tools.kustomize import DIRECTORY, REFERENCES, SCOPES, files

DATA = Path(__file__).parent / "data" / "kustomize"
OVERLAYS = ("prefix", "namespace")
COMMANDS = [
    command
    for command in (["kustomize", "build"], ["kubectl", "kustomize"])
    if shutil.which(command[0]) is not None
]
Object = dict[str, Any]


def documents(path: Path) -> list[Object]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def references(value: Any, path: str = "spec") -> Iterator[tuple[str, Object]]:
    """Yield the path and the value of each reference in a spec."""
    match value:
        case dict():
            for name, child in value.items():
                if name.endswith("Ref"):
                    yield f"{path}/{name}", child
                yield from references(child, f"{path}/{name}")
        case list():
            for child in value:
                yield from references(child, path)


def fields(schema: Object, path: str = "spec") -> Iterator[tuple[str, Object]]:
    """Yield the path and the schema of each object with a name in the schema of a spec."""
    schema = schema.get("items", schema)
    for name, child in schema.get("properties", {}).items():
        yield f"{path}/{name}", child
        yield from fields(child, f"{path}/{name}")


def reference_fields() -> Iterator[tuple[str, str, Object]]:
    """Yield each field of the CRDs whose description says that it refers to an object of another kind."""
    for kind, definition in generate().items():
        (version,) = definition["spec"]["versions"]
        for path, schema in fields(version["schema"]["openAPIV3Schema"]["properties"]["spec"]):
            described = schema.get("properties", {}).get("name", {}).get("description", "")
            if any(described.startswith(f"Name of the {each}.") for each in KINDS):
                yield kind, path, schema


def configured() -> set[tuple[str, str]]:
    [entry] = documents(DIRECTORY / REFERENCES)
    return {
        (spec["kind"], spec["path"].removesuffix("/name"))
        for target in entry["nameReference"]
        for spec in target["fieldSpecs"]
    }


def test_committed_files_are_those_that_are_generated() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in DIRECTORY.iterdir()} == files()


def test_configuration_has_every_reference_of_the_schemas() -> None:
    assert configured() == {(kind, path) for kind, path, _ in reference_fields()}


def test_each_reference_names_the_kind_that_its_schema_describes() -> None:
    [entry] = documents(DIRECTORY / REFERENCES)
    kinds = {
        (spec["kind"], spec["path"].removesuffix("/name")): target["kind"]
        for target in entry["nameReference"]
        for spec in target["fieldSpecs"]
    }
    for kind, path, schema in reference_fields():
        named = schema["properties"]["name"]["description"]
        assert named.startswith(f"Name of the {kinds[kind, path]}."), (kind, path)


def test_fixture_has_every_reference_and_valid_objects() -> None:
    found = documents(DATA / "base" / "objects.yaml")
    assert {(obj["kind"], path) for obj in found for path, _ in references(obj["spec"])} == configured()
    for obj in found:
        assert complaints(KINDS[obj["kind"]].model_validate(obj)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_references_in_the_output_name_existing_objects(overlay: str) -> None:
    output = documents(DATA / overlay / "output.yaml")
    names = {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in output}
    kinds = {"projectRef": "ManagedProject", "customRoleRef": "CustomRole", "identityRef": "CloudRunIdentity"}
    dangling = set()
    for obj in output:
        for path, reference in references(obj["spec"]):
            kind = kinds[path.rpartition("/")[2]]
            own = None if kind == "ManagedProject" else obj["metadata"]["namespace"]
            if (kind, reference.get("namespace", own), reference["name"]) not in names:
                dangling.add((obj["kind"], path, reference["name"]))
    # kustomize rewrites no reference to an object that stays in another namespace.
    assert dangling == ({("IAMBinding", "spec/members/identityRef", "ci")} if overlay == "prefix" else set())
    assert all(name.startswith("prod-") for _, _, name in names)


def test_namespace_of_a_kustomization_leaves_cluster_scoped_objects_alone() -> None:
    output = documents(DATA / "namespace" / "output.yaml")
    namespaces = {obj["kind"]: obj["metadata"].get("namespace") for obj in output}
    assert namespaces.pop("ManagedProject") is None
    assert set(namespaces.values()) == {"payments-prod"}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_kustomize_prints_the_stored_output(command: list[str], overlay: str, tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    for name in (REFERENCES, SCOPES):
        shutil.copy(DIRECTORY / name, tmp_path / overlay / name)
    done = subprocess.run(
        [*command, str(tmp_path / overlay)], check=True, capture_output=True, text=True, timeout=HUNG_AFTER
    )
    assert list(yaml.safe_load_all(done.stdout)) == documents(DATA / overlay / "output.yaml")
