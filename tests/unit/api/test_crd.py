from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS, WorkloadAdmission, WorkloadKind
from cloudrun_identity.api.crd import file_name, generate, render, write

GENERATED = generate()
COMMITTED = Path(__file__).parents[3] / "crds"


def openapi(kind: str) -> dict[str, Any]:
    (version,) = GENERATED[kind]["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS)
def test_committed_definition_is_the_generated_one(kind: str) -> None:
    committed = (COMMITTED / file_name(kind)).read_text(encoding="utf-8")

    assert committed == render(kind), "run `make generate`"


def test_only_generated_definitions_are_committed() -> None:
    assert {path.name for path in COMMITTED.iterdir()} == {file_name(kind) for kind in KINDS}


def test_write_creates_one_file_per_kind(tmp_path: Path) -> None:
    paths = write(tmp_path / "made" / "on-the-way")

    assert [yaml.safe_load(path.read_text())["spec"]["names"]["kind"] for path in paths] == list(KINDS)


def test_render_refuses_an_unknown_kind() -> None:
    with pytest.raises(KeyError):
        render("Deployment")


@pytest.mark.parametrize("kind", KINDS)
def test_rendered_yaml_equals_the_definition_without_anchors(kind: str) -> None:
    text = render(kind)

    assert yaml.safe_load(text) == GENERATED[kind]
    assert not [token for token in yaml.scan(text) if isinstance(token, yaml.AnchorToken)]


def test_kubectl_names_are_unique_and_have_plurals() -> None:
    names = [definition["spec"]["names"] for definition in GENERATED.values()]
    every = [name for each in names for name in (each["plural"], each["singular"], *each["shortNames"])]

    assert len(every) == len(set(every))
    for singular, plural in (each["shortNames"] for each in names):
        assert plural in (f"{singular}s", f"{singular}es")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_type_and_a_description(kind: str) -> None:
    for part in ("spec", "status"):
        for path, node in nodes(
            openapi(kind)["properties"].get(part, {"type": "", "description": "."}), part
        ):
            assert "type" in node, path
            if not path.endswith("[]"):
                assert node["description"].endswith((".", ".)")), path


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_structural(kind: str) -> None:
    for path, node in nodes(openapi(kind)):
        assert not {"$ref", "anyOf", "title", "pattern"} & set(node), path
        assert not {"properties", "additionalProperties"} <= set(node), path


@pytest.mark.parametrize("kind", KINDS)
def test_lists_and_strings_are_bounded(kind: str) -> None:
    for path, node in nodes(openapi(kind)["properties"]["spec"], "spec"):
        match node:
            case {"type": "array"}:
                assert "maxItems" in node, path
            case {"type": "string"} if "enum" not in node and node.get("format") != "date-time":
                assert "maxLength" in node, path


@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_strings_are_sets_and_lists_of_objects_are_not(kind: str) -> None:
    ordered = {"spec.credentials.delegates"}
    for path, node in nodes(openapi(kind)["properties"]["spec"], "spec"):
        if node["type"] != "array":
            continue
        is_set = node["items"]["type"] == "string" and path not in ordered
        assert node["x-kubernetes-list-type"] == ("set" if is_set else "atomic"), path


def inside_atomic_lists(schema: dict[str, Any], path: str, inside: bool = False) -> Iterator[str]:
    """Yield the paths of the defaults below lists that are compared as a whole."""
    if inside and "default" in schema:
        yield path
    for name, child in schema.get("properties", {}).items():
        yield from inside_atomic_lists(child, f"{path}.{name}", inside)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from inside_atomic_lists(schema["additionalProperties"], f"{path}.*", inside)
    if "items" in schema:
        is_atomic = schema.get("x-kubernetes-list-type", "atomic") == "atomic"
        yield from inside_atomic_lists(schema["items"], f"{path}[]", inside or is_atomic)


@pytest.mark.parametrize("kind", KINDS)
def test_no_default_is_set_inside_an_atomic_list(kind: str) -> None:
    assert list(inside_atomic_lists(openapi(kind), "")) == []


def test_default_inside_an_atomic_list_is_described() -> None:
    guardrails = openapi("ManagedProject")["properties"]["spec"]["properties"]["guardrails"]["properties"]
    workloads = guardrails["workloads"]["items"]["properties"]
    assert workloads["names"]["description"] == 'Patterns of workload names. Defaults to ["*"].'
    escalation = guardrails["grants"]["items"]["properties"]["allowEscalation"]
    assert escalation["description"].endswith(" Defaults to false.")

    assert WorkloadAdmission() == WorkloadAdmission(
        kinds=tuple(WorkloadKind), locations=("*",), names=("*",), namespaces=None
    )


@pytest.mark.parametrize("kind", KINDS)
def test_status_defaults_to_an_unobserved_generation(kind: str) -> None:
    status = openapi(kind)["properties"].get("status")

    assert status is None or status["default"] == {"observedGeneration": -1}
    assert (status is None) == (kind == "PolicyLedger")


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_is_a_boolean_or_null_word_of_yaml(kind: str) -> None:
    for path, _ in nodes(openapi(kind)):
        name = path.rpartition(".")[2].removesuffix("[]")
        assert isinstance(yaml.safe_load(name or "x"), str), path


@pytest.mark.parametrize("kind", KINDS)
def test_first_value_of_an_enum_is_its_default(kind: str) -> None:
    for path, node in nodes(openapi(kind)["properties"]["spec"], "spec"):
        if "enum" in node and "default" in node:
            assert node["default"] == node["enum"][0], path


@pytest.mark.parametrize("kind", KINDS)
def test_columns_read_plain_fields_of_the_schema(kind: str) -> None:
    known = {path for path, _ in nodes(openapi(kind))} | {".metadata.creationTimestamp"}
    known |= {
        f'.status.conditions[?(@.type=="{condition}")].{field}'
        for condition in ("Ready", "Degraded")
        for field in ("status", "reason", "message")
    }
    known.add('.status.conditions[?(@.type=="Stalled")].status')

    assert {column.json_path for column in KINDS[kind].columns} <= known


@pytest.mark.parametrize(
    ("kind", "columns"),
    {
        "ManagedProject": ["Project", "Number", "Ready", "Reason", "Degraded", "Age"],
        "CloudRunIdentity": ["Email", "Project", "Ready", "Reason", "Age"],
        "IAMBinding": ["Target", "Role", "Members", "Ready", "Reason", "Age"],
        "IdentityAttachment": ["Kind", "Location", "Workload", "Identity", "Ready", "Reason", "Age"],
        "PolicyLedger": ["Target", "Grants", "Pending", "Rejected", "Unmanaged", "Age"],
    }.items(),
)
def test_narrow_columns_show_the_resource_and_its_state(kind: str, columns: list[str]) -> None:
    (version,) = GENERATED[kind]["spec"]["versions"]

    narrow = [each["name"] for each in version["additionalPrinterColumns"] if not each.get("priority")]
    assert narrow == columns


def test_rules_of_a_field_follow_those_of_its_type() -> None:
    interval = openapi("ManagedProject")["properties"]["spec"]["properties"]["driftInterval"]

    assert [rule["message"] for rule in interval["x-kubernetes-validations"]] == [
        "must be a duration such as 90s, 5m or 1h30m",
        "must be 1s or longer",
    ]


def test_ledger_has_no_status() -> None:
    (version,) = GENERATED["PolicyLedger"]["spec"]["versions"]

    assert "subresources" not in version
    assert "status" not in openapi("PolicyLedger")["properties"]
