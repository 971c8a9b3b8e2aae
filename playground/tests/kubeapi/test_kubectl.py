"""Unmodified kubectl."""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from playground.tests.kubeapi.http import Object
from playground.tests.kubeapi.widgets import widget
from tests.servers.kube_apis import KubeApi
from tests.time_budget import HUNG_AFTER

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

_NUMBERS = itertools.count(1)
READY = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Done"}]}}
WAIT = f"--timeout={HUNG_AFTER:.0f}s"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


@dataclass(frozen=True)
class Kubectl:
    """kubectl with its own home directory, in one namespace."""

    environment: dict[str, str]
    namespace: str

    def __call__(self, *arguments: str, manifest: Object | None = None) -> Result:
        """Run kubectl; a manifest is passed as `-f -`."""
        command = ["kubectl", "--namespace", self.namespace, f"--request-timeout={HUNG_AFTER:.0f}s"]
        ran = subprocess.run(
            [*command, *arguments, *(["-f", "-"] if manifest is not None else [])],
            input=None if manifest is None else json.dumps(manifest),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=HUNG_AFTER,
            check=False,
        )
        return Result(ran.returncode, ran.stdout.strip(), ran.stderr.strip())

    def read(self, *arguments: str) -> Object:
        """Get an object as JSON."""
        obj: Object = json.loads(self("get", *arguments, "-o", "json").out)
        return obj


@pytest.fixture(scope="package")
def environment(kube_api_with_widgets: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return os.environ | {"HOME": str(home), "KUBECONFIG": str(kube_api_with_widgets.kubeconfig)}


@pytest.fixture
def kubectl(environment: dict[str, str]) -> Iterator[Kubectl]:
    namespace = f"kubectl-{next(_NUMBERS)}"
    created = Kubectl(environment, "default")("create", "namespace", namespace)
    assert created.out == f"namespace/{namespace} created", created.err
    yield Kubectl(environment, namespace)
    Kubectl(environment, "default")("delete", "namespace", namespace, "--wait=false")


def test_apply_reports_created_configured_and_unchanged(kubectl: Kubectl) -> None:
    said = [
        kubectl("apply", manifest=manifest).out
        for manifest in (widget(tags=["x"]), widget(size=2, tags=["x"]), widget(size=2), widget(size=2))
    ]

    assert said == [
        "widget.contract.test/a created",
        "widget.contract.test/a configured",
        "widget.contract.test/a configured",
        "widget.contract.test/a unchanged",
    ]
    assert kubectl.read("widget", "a")["spec"] == {"size": 2, "mode": "A"}


def test_server_side_apply_migrates_and_reports_conflicts(kubectl: Kubectl) -> None:
    kubectl("apply", manifest=widget(size=1))

    taken = kubectl("apply", "--server-side", manifest=widget(size=2))
    refused = kubectl("apply", "--server-side", "--field-manager=other", manifest=widget(size=4))
    forced = kubectl(
        "apply", "--server-side", "--field-manager=other", "--force-conflicts", manifest=widget(size=4)
    )

    assert taken.out == forced.out == "widget.contract.test/a serverside-applied", taken.err
    assert refused.code != 0
    assert "conflict with" in refused.err
    assert ".spec.size" in refused.err
    assert kubectl.read("widget", "a")["spec"]["size"] == 4


def test_apply_refuses_unknown_and_invalid_fields(kubectl: Kubectl) -> None:
    unknown = kubectl("apply", manifest=widget(bogus=1))
    invalid = kubectl("apply", manifest=widget(id="A1"))

    assert 'strict decoding error: unknown field "spec.bogus"' in unknown.err
    assert 'spec.id: Invalid value: "A1": must be small letters' in invalid.err
    assert unknown.code == invalid.code == 1


def test_dry_run_on_the_server_and_diff_change_nothing(kubectl: Kubectl) -> None:
    kubectl("apply", manifest=widget(size=1))

    dry = kubectl("apply", "--dry-run=server", manifest=widget(size=2))
    diff = kubectl("diff", manifest=widget(size=2))

    assert dry.out == "widget.contract.test/a configured (server dry run)"
    assert "+  size: 2" in diff.out
    assert kubectl.read("widget", "a")["spec"]["size"] == 1


def test_get_shows_the_columns_of_the_definition(kubectl: Kubectl) -> None:
    kubectl("create", manifest=widget(size=4))
    kubectl("patch", "widget", "a", "--subresource=status", "--type=merge", "-p", json.dumps(READY))

    narrow, wide = kubectl("get", "wdg"), kubectl("get", "contract", "-o", "wide")

    assert narrow.rows[0] == ["NAME", "SIZE", "READY", "AGE"]
    assert narrow.rows[1][:3] == ["a", "4", "True"]
    assert wide.rows[0] == ["NAME", "SIZE", "READY", "MODE", "AGE"]
    assert wide.rows[1][3] == "A"


def test_get_pages_and_selects(kubectl: Kubectl) -> None:
    for name in ("a", "b", "c"):
        kubectl("create", manifest=widget(name, metadata={"labels": {"app": name}}))

    paged = kubectl("get", "widgets", "--chunk-size=1", "-o", "name")
    selected = kubectl("get", "widgets", "-l", "app in (a,c),app!=c", "-o", "name")

    assert paged.out.split() == [f"widget.contract.test/{name}" for name in ("a", "b", "c")]
    assert selected.out == "widget.contract.test/a"


def test_describe_shows_the_object_and_its_events(kubectl: Kubectl) -> None:
    kubectl("create", manifest=widget())
    involved = kubectl.read("widget", "a")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a.1"},
        "involvedObject": {
            "apiVersion": "contract.test/v1",
            "kind": "Widget",
            "name": "a",
            "namespace": kubectl.namespace,
            "uid": involved["metadata"]["uid"],
        },
        "reason": "Painted",
        "message": "it is blue now",
        "type": "Normal",
        "firstTimestamp": involved["metadata"]["creationTimestamp"],
        "lastTimestamp": involved["metadata"]["creationTimestamp"],
        "count": 1,
        "source": {"component": "painter"},
    }
    kubectl("create", manifest=event)

    described = kubectl("describe", "widget", "a").out
    listed = kubectl("events", "--for", "widget/a")
    table = kubectl("get", "events")

    assert "Size:  1" in described
    assert "Painted" in described
    assert "it is blue now" in described
    assert listed.rows[1][1:] == ["Normal", "Painted", "Widget/a", "it", "is", "blue", "now"]
    assert table.rows[1][1:4] == ["Normal", "Painted", "widget/a"]


def test_wait_for_a_condition_a_value_and_a_deletion(kubectl: Kubectl) -> None:
    kubectl("create", manifest=widget())
    kubectl("patch", "widget", "a", "--subresource=status", "--type=merge", "-p", json.dumps(READY))

    ready = kubectl("wait", "--for=condition=Ready", "widget/a", WAIT)
    value = kubectl("wait", "--for=jsonpath={.spec.size}=1", "widget/a", WAIT)
    kubectl("delete", "widget", "a", "--wait=false")
    gone = kubectl("wait", "--for=delete", "widget/a", WAIT)

    assert ready.out == value.out == "widget.contract.test/a condition met"
    assert gone.code == 0


def test_wait_that_is_not_met_times_out(kubectl: Kubectl) -> None:
    kubectl("create", manifest=widget())

    waited = kubectl("wait", "--for=condition=Ready", "widget/a", "--timeout=1s")

    assert waited.code == 1
    assert "timed out waiting for the condition" in waited.err


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", {"spec": {"size": 2}}),
        ("json", [{"op": "replace", "path": "/spec/size", "value": 2}]),
    ],
)
def test_patch(kubectl: Kubectl, kind: str, patch: object) -> None:
    kubectl("create", manifest=widget())

    patched = kubectl("patch", "widget", "a", f"--type={kind}", "-p", json.dumps(patch))

    assert patched.out == "widget.contract.test/a patched"
    assert kubectl.read("widget", "a")["spec"]["size"] == 2


def test_label_annotate_and_replace(kubectl: Kubectl) -> None:
    kubectl("create", manifest=widget())

    labelled = kubectl("label", "widget", "a", "team=x")
    annotated = kubectl("annotate", "widget", "a", "note=y")
    current = kubectl.read("widget", "a")
    replaced = kubectl("replace", manifest=current | {"spec": {"size": 5}})
    stale = kubectl("replace", manifest=current | {"spec": {"size": 4}})

    assert labelled.out == "widget.contract.test/a labeled"
    assert annotated.out == "widget.contract.test/a annotated"
    assert replaced.out == "widget.contract.test/a replaced", replaced.err
    assert "the object has been modified" in stale.err


def test_delete_waits_for_the_finalizer(kubectl: Kubectl) -> None:
    kubectl("create", manifest=widget(metadata={"finalizers": ["x.test/y"]}))

    kubectl("delete", "widget", "a", "--wait=false")
    held = kubectl.read("widget", "a")
    kubectl("patch", "widget", "a", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')

    assert "deletionTimestamp" in held["metadata"]
    assert kubectl("get", "widget", "a").code == 1


def test_delete_all_removes_every_object_of_a_kind(kubectl: Kubectl) -> None:
    for name in ("a", "b"):
        kubectl("create", manifest=widget(name))

    deleted = kubectl("delete", "widgets", "--all", WAIT)

    assert deleted.code == 0
    assert kubectl("get", "widgets").err == f"No resources found in {kubectl.namespace} namespace."


def test_explain_describes_fields(kubectl: Kubectl) -> None:
    field = kubectl("explain", "widget.spec.size").out
    tree = kubectl("explain", "wdg", "--recursive").out

    assert "How large it is." in field
    assert "FIELD: size <integer>" in field
    assert "parts\t<[]Object>" in tree


def test_secrets_and_config_maps_are_created_from_literals(kubectl: Kubectl) -> None:
    """kubectl sends these in protobuf."""
    secret = kubectl("create", "secret", "generic", "s", "--from-literal=k=v", "--from-literal=e=")
    config = kubectl("create", "configmap", "c", "--from-literal=k=v")

    assert (secret.out, config.out) == ("secret/s created", "configmap/c created")
    assert kubectl.read("secret", "s")["data"] == {"k": "dg==", "e": ""}
    assert kubectl.read("secret", "s")["type"] == "Opaque"
    assert kubectl.read("configmap", "c")["data"] == {"k": "v"}


def test_built_in_kinds_are_applied(kubectl: Kubectl) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"a": "1", "b": "2"},
    }

    said = [
        kubectl("apply", manifest=manifest).out
        for manifest in (config, config | {"data": {"a": "1"}}, config | {"data": {"a": "1"}})
    ]

    assert said == ["configmap/c created", "configmap/c configured", "configmap/c unchanged"]
    assert kubectl.read("configmap", "c")["data"] == {"a": "1"}


def test_administrator_can_do_everything(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "widgets").out == "yes"


def test_api_resources_name_the_kind(kubectl: Kubectl) -> None:
    listed = kubectl("api-resources", "--api-group=contract.test", "--no-headers")

    assert ["widgets", "wdg", "contract.test/v1", "true", "Widget"] in listed.rows


def test_get_with_watch_prints_changes(kubectl: Kubectl) -> None:
    kubectl("create", manifest=widget(size=2))

    followed = kubectl("get", "widget", "a", "--watch", "--request-timeout=1s")

    assert [row[:2] for row in followed.rows] == [["NAME", "SIZE"], ["a", "2"]]


def test_short_names_of_built_in_kinds_work(kubectl: Kubectl) -> None:
    established = kubectl("wait", "--for=condition=Established", "crd/widgets.contract.test", WAIT)
    account = kubectl("create", "serviceaccount", "robot")
    namespace = kubectl("get", "ns", kubectl.namespace, "-o", "jsonpath={.status.phase}")

    assert (
        established.out == "customresourcedefinition.apiextensions.k8s.io/widgets.contract.test condition met"
    )
    assert account.out == "serviceaccount/robot created"
    assert namespace.out == "Active"
