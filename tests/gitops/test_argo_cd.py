"""Run the health checks and actions in `argocd/` on its test data, and on statuses of the operator."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS, RECONCILE_REQUESTED_AT
from cloudrun_identity.api.group import GROUP
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Paused, Refused, Waiting
from tests.documented import ROOT
from tests.gitops.answers import read_table
from tests.gitops.argo_cd_lua import acted, enabled_actions, health
from tests.gitops.states import State, object_in, states
from tools.argo_cd.customizations import CONFIG_MAP, files, health_script, kinds
from tools.argo_cd.samples import REQUESTED

FOLDER = ROOT / "argocd"
KIND_FOLDERS = sorted((FOLDER / GROUP).iterdir())
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


# Every state


@pytest.mark.parametrize("kind", kinds())
def test_interpreter_of_the_tests_answers_as_that_of_argo_cd(kind: str) -> None:
    stored = {state: answer for each, state, *_, answer in read_table() if each == kind}
    # Argo CD does not run the script for an object that is being deleted.
    seen = [state for state in states() if not state.deleting]
    found = {state.name: health(health_script(), object_in(kind, state))["status"] for state in seen}
    assert found == {state.name: stored[state.name] for state in seen}


@pytest.mark.parametrize(
    "state", [state for state in states() if not state.edited], ids=lambda state: state.name
)
def test_message_is_that_of_the_condition_that_decides(state: State) -> None:
    match state.outcome:
        case None:
            expected = "Waiting for the operator"
        case InSync(is_expired=True):
            expected = "The time of every grant is over"
        case InSync():
            expected = "Google Cloud is as declared"
        case Waiting(_, message) | Failing(_, message) | Refused(_, message) | Paused(_, message):
            expected = message
    found = health(health_script(), object_in("CloudRunIdentity", state))["message"]
    assert found.startswith(f"{expected}; this has lasted" if state.stalled else expected)


def test_object_without_status_is_progressing() -> None:
    obj = object_in("CloudRunIdentity", next(states()))
    del obj["status"]
    assert health(health_script(), obj)["status"] == "Progressing"


def test_scripts_run_without_the_libraries_that_argo_cd_withholds() -> None:
    for name in ("string", "math", "io", "os", "debug"):
        assert health(f"return {{status = tostring({name})}}", {}) == {"status": "nil"}
