"""The CRDs on an API server: accepted manifests, and errors for the rest."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import (
    KINDS,
    MAX_PERMISSIONS,
    MAX_PRINCIPALS,
    MAX_ROLE_BYTES,
    MAX_SPEC_BYTES,
)
from cloudrun_identity.api.crd import generate
from playground.tests.kubeapi.resources import RefusedError, Resources, kinds_with_status, sample_of
from tests.servers.kube_apis import KubeApi

Case = dict[str, Any]
Spec = dict[str, Any]

GENERATED = generate()
MANIFESTS = yaml.safe_load((Path(__file__).parent / "manifests.yaml").read_text(encoding="utf-8"))
MINIMAL: dict[str, Spec] = MANIFESTS["minimal"]
COMPLETE: dict[str, Spec] = MANIFESTS["complete"]
NAME = "checkout"


@pytest.fixture(scope="package")
def installed(kube_api: KubeApi) -> Resources:
    resources = Resources(kube_api.kubeconfig)
    resources.install()
    return resources


@pytest.fixture
def resources(installed: Resources) -> Iterator[Resources]:
    yield installed
    installed.delete_all()


def case_name(case: Case) -> str:
    return f"{case['kind']}: {case['case']}"


def spec_with(kind: str, change: Spec, repeat: int = 1) -> Spec:
    spec = {**MINIMAL[kind], **change}
    repeated = {key: spec[key] * repeat for key in change if isinstance(spec[key], list)}
    return {key: value for key, value in (spec | repeated).items() if value is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_definition_is_established_and_structural(resources: Resources, kind: str) -> None:
    conditions = resources.definition_conditions(kind)

    assert conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_accepted_and_stored_as_written(resources: Resources, kind: str) -> None:
    stored = resources.create(kind, NAME, COMPLETE[kind])

    assert {key: stored["spec"][key] for key in COMPLETE[kind]} == COMPLETE[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_complete_manifests_have_every_field_but_alternatives(kind: str) -> None:
    (version,) = GENERATED[kind]["spec"]["versions"]
    fields = set(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])

    assert fields - set(COMPLETE[kind]) <= {"role", "identityRef", "foreignMembers"}


@pytest.mark.parametrize("kind", KINDS)
def test_server_sets_the_defaults_of_the_model(resources: Resources, kind: str) -> None:
    stored = resources.create(kind, NAME, MINIMAL[kind])

    written = {"metadata": {"name": NAME}, "spec": MINIMAL[kind]}
    assert KINDS[kind].model_validate(stored).spec == KINDS[kind].model_validate(written).spec


def test_defaults_show_in_the_stored_object(resources: Resources) -> None:
    identity = resources.create("CloudRunIdentity", NAME, MINIMAL["CloudRunIdentity"])
    project = resources.create("ManagedProject", NAME, MINIMAL["ManagedProject"])

    assert identity["spec"]["deletionPolicy"] == "DeleteIfCreated"
    assert identity["spec"]["deletionProtection"] == "WhileInUse"
    assert identity["spec"]["adoption"] == "Fail"
    assert project["spec"]["driftInterval"] == "5m"
    assert project["spec"]["guardrails"]["defaultGrants"] is True
    assert project["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("case", MANIFESTS["refused"], ids=case_name)
def test_refusal_names_the_field_and_the_rule(resources: Resources, case: Case) -> None:
    spec = spec_with(case["kind"], case["change"], case.get("repeat", 1))

    with pytest.raises(RefusedError) as refusal:
        resources.create(case["kind"], case.get("name", NAME), spec)

    assert [text for text in case["says"] if text not in str(refusal.value)] == []


@pytest.mark.parametrize("case", MANIFESTS["forbidden_edits"], ids=case_name)
def test_immutable_fields_cannot_change(resources: Resources, case: Case) -> None:
    resources.create(case["kind"], NAME, spec_with(case["kind"], case.get("before", {})))

    with pytest.raises(RefusedError) as refusal:
        resources.patch(case["kind"], NAME, {"spec": case["change"]})

    assert refusal.value.code == 422
    assert [text for text in case["says"] if text not in str(refusal.value)] == []


@pytest.mark.parametrize("case", MANIFESTS["allowed_edits"], ids=case_name)
def test_mutable_fields_can_change(resources: Resources, case: Case) -> None:
    resources.create(case["kind"], NAME, MINIMAL[case["kind"]])

    stored = resources.patch(case["kind"], NAME, {"spec": case["change"]})

    assert {key: stored["spec"].get(key) for key in case["change"]} == case["change"]


@pytest.mark.parametrize("kind", kinds_with_status())
def test_no_field_of_a_status_is_pruned(resources: Resources, kind: str) -> None:
    (version,) = GENERATED[kind]["spec"]["versions"]
    full = sample_of(version["schema"]["openAPIV3Schema"]["properties"]["status"])
    resources.create(kind, NAME, MINIMAL[kind])

    stored = resources.patch(kind, NAME, {"status": full}, "/status")

    assert stored["status"] == full
    assert KINDS[kind].model_validate(stored).to_dict()["status"] == full


TEAMS = 400


def shared_by_teams() -> Spec:
    """Return a project of many teams, with an entry for each team in every list of the guardrails."""
    names = [f"team-{number:03}" for number in range(TEAMS)]
    return {
        "projectID": "acme-shop",
        "namespaces": {"names": names},
        "guardrails": {
            "grants": [
                {
                    "roles": ["roles/cloudsql.client"],
                    "targetKinds": ["Project"],
                    "members": [f"identity:{name}/*"],
                    "namespaces": [name],
                }
                for name in names
            ],
            "workloads": [{"names": [f"{name}-*"], "namespaces": [name]} for name in names],
            "accounts": [
                {"email": f"{name}-*@x.iam.gserviceaccount.com", "namespaces": [name]} for name in names
            ],
            "adoptableAccounts": [{"email": f"{name}-*", "namespaces": [name]} for name in names],
            "adoptableRoles": [
                {"roleID": f"team{number}*", "namespaces": [names[number]]} for number in range(TEAMS)
            ],
        },
    }


def test_project_of_many_teams_is_within_the_cost_budget(resources: Resources) -> None:
    spec = shared_by_teams()
    assert len(json.dumps(spec)) < MAX_SPEC_BYTES

    stored = resources.create("ManagedProject", NAME, spec)
    assert len(stored["spec"]["guardrails"]["grants"]) == TEAMS

    del spec["guardrails"]["grants"][-1]["namespaces"]
    with pytest.raises(RefusedError, match="each entry must set namespaces"):
        resources.create("ManagedProject", f"{NAME}-2", spec)


def test_suspension_is_not_refused_for_entries_of_an_earlier_version(resources: Resources) -> None:
    spec = shared_by_teams()
    del spec["guardrails"]["grants"][-1]["namespaces"]
    stored = resources.create("ManagedProject", NAME, {**spec, "suspend": True})
    assert stored["spec"]["suspend"] is True
    with pytest.raises(RefusedError, match="each entry must set namespaces"):
        resources.patch("ManagedProject", NAME, {"spec": {"suspend": False}})


def test_custom_role_has_as_many_permissions_as_google_accepts(resources: Resources) -> None:
    permissions = [f"compute.r{number:04}.get" for number in range(MAX_PERMISSIONS)]
    spec = MINIMAL["CustomRole"] | {"permissions": permissions}
    stored = resources.create("CustomRole", NAME, spec)
    assert len(stored["spec"]["permissions"]) == MAX_PERMISSIONS

    spec["permissions"] = [*permissions, "run.jobs.run"]
    with pytest.raises(RefusedError, match=f"permissions.*at most {MAX_PERMISSIONS} items"):
        resources.create("CustomRole", f"{NAME}-2", spec)


def test_custom_role_has_at_most_64_kib_in_all(resources: Resources) -> None:
    length, title = 64, "t" * 100
    permissions = [f"compute.{number:0{length - 12}}.get" for number in range(1020)]
    description = "d" * (MAX_ROLE_BYTES - length * len(permissions) - len(title))
    spec = MINIMAL["CustomRole"] | {"permissions": permissions, "title": title, "description": description}
    resources.create("CustomRole", NAME, spec)

    spec["description"] = "ü" + description[1:]
    with pytest.raises(RefusedError, match=r"spec\.permissions.*at most 65536 bytes together with title"):
        resources.create("CustomRole", f"{NAME}-2", spec)


def test_google_may_end_grants_on_a_target_without_a_kind(resources: Resources) -> None:
    function = "//cloudfunctions.googleapis.com/projects/shop-1234/locations/europe-west1/functions/resize"
    ends = {"duration": "8h", "expiryEnforcedBy": "OperatorAndGoogle"}
    member = {"principal": "user:ann@example.com", **ends}
    grant = {"role": "roles/cloudfunctions.invoker", "target": {"resource": function}, **ends}
    for kind, change in (
        ("IAMBinding", {"target": grant["target"], "members": [member]}),
        ("CloudRunIdentity", {"roles": [grant]}),
    ):
        resources.create(kind, NAME, spec_with(kind, change))


@pytest.mark.slow
def test_binding_has_as_many_members_as_a_policy(resources: Resources) -> None:
    members = [{"principal": f"user:{number:04}-{'u' * 60}@example.com"} for number in range(MAX_PRINCIPALS)]
    spec = MINIMAL["IAMBinding"] | {"members": members}
    assert len(json.dumps(spec)) < MAX_SPEC_BYTES
    stored = resources.create("IAMBinding", NAME, spec)
    assert len(stored["spec"]["members"]) == MAX_PRINCIPALS

    spec["members"] = [*members, {"principal": "user:one-more@example.com"}]
    with pytest.raises(RefusedError, match=f"members.*at most {MAX_PRINCIPALS} items"):
        resources.create("IAMBinding", f"{NAME}-2", spec)


TAKEN = {
    # Names of other objects, which are only looked up.
    "projectRef.name",
    "identityRef.name",
    "identityRef.namespace",
    "customRoleRef.name",
    "allowedNamespaces[]",
    # Texts for people, and conditions, which are passed to Google Cloud as they are.
    "displayName",
    "description",
    "title",
    "expression",
    "secretTemplate.labels{}",
    "secretTemplate.annotations{}",
    # Guardrails of a platform team, which are compared with manifests and not sent.
    "namespaces.names[]",
    "namespaces.selector.matchLabels{}",
    "namespaces.selector.matchExpressions[].key",
    "namespaces.selector.matchExpressions[].values[]",
    "guardrails.grants[].roles[]",
    "guardrails.grants[].names[]",
    "guardrails.grants[].locations[]",
    "guardrails.grants[].conditions[]",
    "guardrails.grants[].members[]",
    "guardrails.grants[].namespaces[]",
    "guardrails.workloads[].namespaces[]",
    "guardrails.workloads[].locations[]",
    "guardrails.accounts[].namespaces[]",
    "guardrails.adoptableAccounts[].namespaces[]",
    "guardrails.adoptableRoles[].namespaces[]",
    "guardrails.customRoles.namespaces[]",
    "guardrails.keyNamespaces[]",
    "guardrails.workloads[].names[]",
    "guardrails.customRoles.permissions[]",
    "guardrails.naming.accountIDPattern",
    "guardrails.naming.roleIDPattern",
}
"""Ends of the paths of strings that may have any content, for the reasons above."""

HOSTILE = ("\n", "/../", "$(x)")


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"PolicyLedger"}))
def test_name_fields_refuse_hostile_text(resources: Resources, kind: str) -> None:
    found = [(path, spec) for path, spec in spoiled(COMPLETE[kind]) if not path.endswith(tuple(TAKEN))]
    assert found
    taken = {
        path
        for number, (path, spec) in enumerate(found)
        if takes(resources, kind, f"checkout-{number}", spec)
    }
    assert taken == set()


def takes(resources: Resources, kind: str, name: str, spec: Spec) -> bool:
    try:
        resources.create(kind, name, spec)
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"PolicyLedger"}))
def test_every_string_has_a_length_limit(kind: str) -> None:
    (version,) = GENERATED[kind]["spec"]["versions"]
    unbounded = set(unbounded_texts(version["schema"]["openAPIV3Schema"]["properties"]["spec"]))
    assert unbounded <= {"secretTemplate.labels{}", "secretTemplate.annotations{}"}, "the API server bounds"


def spoiled(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield copies of a value, each with one hostile string, and the path of that string."""
    match value:
        case str():
            for text in HOSTILE:
                # Principals have many forms, but none with spaces at an end.
                if text.isspace() or not path.endswith("principal"):
                    yield path, f"{value[:5]}{text}{value[5:]}"
        case dict():
            for name, each in value.items():
                part = "{}" if path.endswith(("labels", "annotations", "matchLabels")) else f".{name}"
                for where, copy in spoiled(each, f"{path}{part}".lstrip(".")):
                    yield where, {**value, name: copy}
        case list():
            for index, each in enumerate(value):
                for where, copy in spoiled(each, f"{path}[]"):
                    yield where, [*value[:index], copy, *value[index + 1 :]]


def unbounded_texts(schema: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of strings without a length limit."""
    if schema.get("type") == "string" and not {"maxLength", "enum"} & schema.keys():
        yield path.lstrip(".")
    for name, each in schema.get("properties", {}).items():
        yield from unbounded_texts(each, f"{path}.{name}")
    for part, name in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(part), dict):
            yield from unbounded_texts(schema[part], f"{path}{name}")
