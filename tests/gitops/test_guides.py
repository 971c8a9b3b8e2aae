"""Manifests in the guides for Argo CD and Flux."""

import fnmatch
import re
from copy import deepcopy
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.group import GROUP
from cloudrun_identity.kube.lease import NAME
from cloudrun_identity_playground.kubeapi.schema import prune
from cloudrun_identity_playground.kubeapi.validation import validate_part
from tests.documented import ROOT, blocks
from tools.argo_cd.customizations import actions, kinds, presentation

from .foreign_schemas import documented, kind_of, schemas

Object = dict[str, Any]

DOCUMENTED = documented()
CHART = yaml.safe_load((ROOT / "charts" / "cloudrun-identity" / "Chart.yaml").read_text(encoding="utf-8"))


def named(kind: str, name: str) -> Object:
    """Return the documented resource of this kind and name."""
    [found] = [obj for obj in DOCUMENTED if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found


@pytest.mark.parametrize("obj", DOCUMENTED, ids=lambda obj: f"{obj['kind']}-{obj['metadata']['name']}")
def test_documented_resource_fits_the_published_schema(obj: Object) -> None:
    schema = schemas()[kind_of(obj)]
    copy = deepcopy(obj)
    assert prune(copy, schema) == [], "a field is unknown"
    assert list(map(str, validate_part(copy, schema))) == []


def test_ignored_orphans_are_what_the_operator_creates_in_its_namespace() -> None:
    ignored = named("AppProject", "platform")["spec"]["orphanedResources"]["ignore"]
    assert ignored == [
        {"group": GROUP, "kind": "PolicyLedger"},
        {"group": "coordination.k8s.io", "kind": "Lease", "name": NAME},
    ]


def test_project_of_a_team_admits_the_namespaced_kinds_only() -> None:
    spec = named("AppProject", "payments")["spec"]
    assert "clusterResourceWhitelist" not in spec
    assert spec["namespaceResourceWhitelist"] == [{"group": GROUP, "kind": "*"}]


def test_waves_install_the_operator_before_projects_before_teams() -> None:
    wave = "argocd.argoproj.io/sync-wave"
    apps = sorted(
        (int(obj["metadata"]["annotations"][wave]), obj["metadata"]["name"])
        for obj in DOCUMENTED
        if obj["kind"] == "Application"
    )
    assert apps == [(0, "cloudrun-identity"), (1, "cloud-projects"), (2, "payments")]


def test_kustomizations_depend_on_each_other_in_the_same_order() -> None:
    order = {
        obj["metadata"]["name"]: [each["name"] for each in obj["spec"].get("dependsOn", ())]
        for obj in DOCUMENTED
        if obj["kind"] == "Kustomization"
    }
    assert order["operator"] == []
    assert order["cloud-projects"] == ["operator"]
    assert order["payments"] == ["cloud-projects"]


def test_both_guides_install_the_chart_from_its_folder() -> None:
    application = named("Application", "cloudrun-identity")["spec"]["source"]
    release = named("HelmRelease", "cloudrun-identity")["spec"]
    for path, values in (
        (application["path"], application["helm"]["valuesObject"]),
        (release["chart"]["spec"]["chart"], release["values"]),
    ):
        assert (ROOT / path / "Chart.yaml").is_file()
        assert set(values) == {"image"}
    assert application["helm"]["releaseName"] == release["releaseName"] == CHART["name"]


def test_checked_kinds_exist() -> None:
    checks = [check for obj in DOCUMENTED for check in obj["spec"].get("healthChecks", ())]
    assert checks
    assert all(check["apiVersion"].startswith(GROUP) and check["kind"] in KINDS for check in checks)


def test_guide_names_every_action_and_health_status() -> None:
    page = (ROOT / "docs" / "how-to" / "argo-cd.md").read_text(encoding="utf-8")
    names = {
        presentation(action)["displayName"].partition(" (")[0] for kind in kinds() for action in actions(kind)
    }
    assert {name for name in names if name not in page} == set()
    assert all(f"| {status} |" in page for status in ("Healthy", "Progressing", "Degraded", "Suspended"))


def test_permissions_for_actions_name_existing_actions() -> None:
    [policy] = [block for block in blocks(ROOT / "docs" / "how-to" / "argo-cd.md") if "policy.csv" in block]
    patterns = re.findall(rf"action/{re.escape(GROUP)}/(\S+),", policy)
    every = [f"{kind}/{action}" for kind in kinds() for action in actions(kind)]
    assert len(patterns) == 2
    assert all(fnmatch.filter(every, pattern) for pattern in patterns)
