"""Run the health checks and actions in `argocd/` on its test data, and on statuses of the operator."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS, RECONCILE_REQUESTED_AT, CloudRunIdentity, Reason
from cloudrun_identity.api.group import GROUP
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.status import Report, status_object, status_of
from tests.argo_cd_lua import acted, enabled_actions, health
from tests.documented import ROOT
from tools.argo_cd.customizations import CONFIG_MAP, files, health_script, kinds
from tools.argo_cd.samples import REQUESTED

FOLDER = ROOT / "argocd"
KIND_FOLDERS = sorted((FOLDER / GROUP).iterdir())
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GENERATION = 3
LONGEST_KEY = 253

Object = dict[str, Any]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def cases(file: str, section: str) -> list[Any]:
    """Return the cases in a section of the test files, each with the folder of its file."""
    return [
        pytest.param(
            (folder / file).parent,
            case,
            id="-".join((folder.name, *filter(None, [case.get("action")]), Path(case["inputPath"]).stem)),
        )
        for folder in KIND_FOLDERS
        for case in read(folder / file)[section]
    ]


def by_name(action: Object) -> str:
    return str(action["name"])


def test_generated_files_are_committed() -> None:
    committed = {
        str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8")
        for path in FOLDER.rglob("*")
        if path.is_file() and path != FOLDER / "README.md"
    }
    assert committed == files(), "run `make generate`"


def test_every_kind_that_users_apply_has_a_health_check() -> None:
    assert {folder.name for folder in KIND_FOLDERS} == {*KINDS} - {"PolicyLedger"}


# The tests in the format of Argo CD


@pytest.mark.parametrize(("folder", "case"), cases("health_test.yaml", "tests"))
def test_health_check_returns_the_expected_status(folder: Path, case: Object) -> None:
    script = (folder / "health.lua").read_text(encoding="utf-8")
    assert health(script, read(folder / case["inputPath"])) == case["healthStatus"]


@pytest.mark.parametrize(("folder", "case"), cases("actions/action_test.yaml", "discoveryTests"))
def test_discovery_enables_the_expected_actions(folder: Path, case: Object) -> None:
    script = (folder / "discovery.lua").read_text(encoding="utf-8")
    found = enabled_actions(script, read(folder / case["inputPath"]))
    assert [{"name": name, **found[name]} for name in sorted(found)] == sorted(case["result"], key=by_name)


@pytest.mark.parametrize(("folder", "case"), cases("actions/action_test.yaml", "actionTests"))
def test_action_changes_only_what_it_is_named_after(folder: Path, case: Object) -> None:
    script = (folder / case["action"] / "action.lua").read_text(encoding="utf-8")
    found = acted(script, read(folder / case["inputPath"]))
    annotations = found["metadata"].get("annotations", {})
    if requested := annotations.get(RECONCILE_REQUESTED_AT):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", requested)
        annotations[RECONCILE_REQUESTED_AT] = REQUESTED
    assert found == read(folder / case["expectedOutputPath"])


@pytest.mark.parametrize("folder", KIND_FOLDERS, ids=lambda folder: folder.name)
def test_test_objects_fit_the_models_and_cover_every_health_status(folder: Path) -> None:
    for path in (*folder.glob("testdata/*"), *folder.glob("actions/testdata/*")):
        KINDS[folder.name].model_validate(read(path))
    statuses = {case["healthStatus"]["status"] for case in read(folder / "health_test.yaml")["tests"]}
    assert statuses == {"Healthy", "Progressing", "Degraded", "Suspended"}


# The ConfigMap


def test_config_map_has_the_scripts_of_every_kind() -> None:
    data = read(FOLDER / CONFIG_MAP)["data"]
    scripts = {}
    for kind in kinds():
        folder = FOLDER / GROUP / kind
        scripts[f"resource.customizations.health.{GROUP}_{kind}"] = text(folder / "health.lua")
        actions = yaml.safe_load(data[f"resource.customizations.actions.{GROUP}_{kind}"])
        assert actions["discovery.lua"] == text(folder / "actions" / "discovery.lua")
        assert {each["name"]: each["action.lua"] for each in actions["definitions"]} == {
            path.parent.name: text(path) for path in folder.glob("actions/*/action.lua")
        }
    assert scripts.items() <= data.items()
    assert len(data) == 2 * len(kinds())
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]+", key) and len(key) <= LONGEST_KEY for key in data)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# Statuses of the operator


def identity(outcome: Outcome | None = None, *, stalled: bool = False) -> Object:
    """Return an identity after a reconcile with this outcome; without one, before the first reconcile."""
    metadata = {"name": "checkout", "namespace": "payments", "generation": GENERATION}
    raw = {"kind": "CloudRunIdentity", "metadata": metadata, "spec": {"projectRef": {"name": "acme"}}}
    if outcome is None:
        return raw
    status = status_of(CloudRunIdentity.model_validate(raw), Report(outcome), NOON, stalled=stalled)
    return {**raw, "status": status_object(status)}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (InSync(), "Healthy"),
        (Waiting(Reason.PROPAGATION_PENDING, "reason"), "Progressing"),
        (Waiting(Reason.DRIFT_DETECTED, "reason"), "Progressing"),
        (Failing(Reason.API_UNAVAILABLE, "reason"), "Progressing"),
        (Failing(Reason.API_UNAVAILABLE, "reason", observed=False), "Progressing"),
        (Refused(Reason.INVALID_SPEC, "reason"), "Degraded"),
        (Paused(Reason.SUSPENDED, "reason"), "Suspended"),
        (Paused(Reason.DRIFT_DETECTED, "reason"), "Suspended"),
    ],
    ids=str,
)
def test_outcome_determines_the_health_status(outcome: Outcome, expected: str) -> None:
    message = "Google Cloud is as declared" if expected == "Healthy" else "reason"
    assert health(health_script(), identity(outcome)) == {"status": expected, "message": message}


def test_stalled_failure_is_degraded() -> None:
    stalled = identity(Failing(Reason.API_UNAVAILABLE, "reason"), stalled=True)
    assert health(health_script(), stalled) == {"status": "Degraded", "message": "reason"}


def test_object_without_status_is_progressing() -> None:
    assert health(health_script(), identity())["status"] == "Progressing"


def test_edited_object_is_progressing_until_it_is_reconciled() -> None:
    for outcome in (InSync(), Refused(Reason.INVALID_SPEC, "reason")):
        edited = identity(outcome)
        edited["metadata"]["generation"] += 1
        assert health(health_script(), edited)["status"] == "Progressing"


def test_scripts_run_without_the_libraries_that_argo_cd_withholds() -> None:
    for name in ("string", "math", "io", "os", "debug"):
        assert health(f"return {{status = tostring({name})}}", {}) == {"status": "nil"}
