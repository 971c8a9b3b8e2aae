"""The CRDs on an API server: what a user may write, and what the server says about the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.crd import generate
from tests.kubeapi.resources import RefusedError, Resources, kinds_with_status, sample_of
from tests.servers.kube_apis import KubeApi

Case = dict[str, Any]
Spec = dict[str, Any]

GENERATED = generate()
MANIFESTS = yaml.safe_load((Path(__file__).parent / "manifests.yaml").read_text(encoding="utf-8"))
MINIMAL: dict[str, Spec] = MANIFESTS["minimal"]
COMPLETE: dict[str, Spec] = MANIFESTS["complete"]
NAME = "checkout"


@pytest.fixture(scope="session")
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
def test_complete_manifests_leave_out_no_field_but_alternatives(kind: str) -> None:
    (version,) = GENERATED[kind]["spec"]["versions"]
    fields = set(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])

    assert fields - set(COMPLETE[kind]) <= {"role", "identityRef"}


@pytest.mark.parametrize("kind", KINDS)
def test_server_fills_the_defaults_of_the_model(resources: Resources, kind: str) -> None:
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
    assert "status" not in project


@pytest.mark.parametrize("case", MANIFESTS["refused"], ids=case_name)
def test_refusal_names_the_field_and_the_rule(resources: Resources, case: Case) -> None:
    spec = spec_with(case["kind"], case["change"], case.get("repeat", 1))

    with pytest.raises(RefusedError) as refusal:
        resources.create(case["kind"], case.get("name", NAME), spec)

    assert [text for text in case["says"] if text not in str(refusal.value)] == []


@pytest.mark.parametrize("case", MANIFESTS["forbidden_edits"], ids=case_name)
def test_what_is_immutable_stays(resources: Resources, case: Case) -> None:
    resources.create(case["kind"], NAME, spec_with(case["kind"], case.get("before", {})))

    with pytest.raises(RefusedError) as refusal:
        resources.patch(case["kind"], NAME, {"spec": case["change"]})

    assert refusal.value.code == 422
    assert [text for text in case["says"] if text not in str(refusal.value)] == []


@pytest.mark.parametrize("case", MANIFESTS["allowed_edits"], ids=case_name)
def test_what_is_mutable_changes(resources: Resources, case: Case) -> None:
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
