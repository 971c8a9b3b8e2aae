"""Command lines of kubectl, gcloud, helm and make in the documentation name what exists."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import yaml

from tests.command_lines import PAGES, Documented, documented_commands
from tests.documented import ROOT

VERBS = frozenset(
    [
        "annotate",
        "apply",
        "auth",
        "create",
        "delete",
        "describe",
        "edit",
        "exec",
        "explain",
        "get",
        "krew",
        "kustomize",
        "logs",
        "port-forward",
        "patch",
        "scale",
        "wait",
    ]
)
"""Commands of kubectl, and of its plugin manager: https://kubernetes.io/docs/reference/kubectl/generated/."""

ON_RESOURCES = frozenset(
    {"annotate", "delete", "describe", "edit", "explain", "get", "patch", "scale", "wait"}
)

BUILT_IN = frozenset(
    [
        "configmap",
        "crd",
        "deployment",
        "events",
        "lease",
        "namespace",
        "namespaces",
        "pods",
        "secret",
        "secrets",
        "serviceaccount",
    ]
) | {"gcp"}
"""Other resources on the pages. `gcp` is the category of Config Connector."""

HELM = frozenset({"install", "lint", "package", "rollback", "test", "uninstall", "upgrade"})

GCLOUD = (
    "auth application-default login",
    "auth application-default set-quota-project",
    "auth print-identity-token",
    "beta run deploy",
    "beta run worker-pools deploy",
    "beta services identity create",
    "iam roles create",
    "iam roles describe",
    "iam roles update",
    "iam service-accounts add-iam-policy-binding",
    "iam service-accounts create",
    "iam service-accounts delete",
    "iam service-accounts describe",
    "iam service-accounts keys enable",
    "iam service-accounts list",
    "iam service-accounts undelete",
    "iam workload-identity-pools create-cred-config",
    "identity groups memberships check-transitive-membership",
    "logging read",
    "logging sinks create",
    "logging sinks describe",
    "org-policies describe",
    "projects add-iam-policy-binding",
    "projects describe",
    "projects get-iam-policy",
    "projects remove-iam-policy-binding",
    "pubsub subscriptions create",
    "pubsub subscriptions pull",
    "pubsub topics add-iam-policy-binding",
    "pubsub topics create",
    "recommender recommendations describe",
    "resource-manager org-policies disable-enforce",
    "resource-manager tags bindings list",
    "run deploy",
    "run jobs replace",
    "run jobs update",
    "run regions list",
    "run services add-iam-policy-binding",
    "run services delete",
    "run services describe",
    "run services list",
    "run services replace",
    "run services update",
    "run worker-pools replace",
    "run worker-pools update",
    "secrets add-iam-policy-binding",
    "services enable",
)
"""Commands of gcloud: https://cloud.google.com/sdk/gcloud/reference. Look a new one up before you add it."""


def commands(program: str) -> list[Documented]:
    return [command for page in PAGES for command in documented_commands(page, program)]


@cache
def own_resources() -> frozenset[str]:
    """Return the names of our kinds that kubectl accepts."""
    names: set[str] = set()
    for path in (ROOT / "crds").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        name = spec["names"]
        names |= {name["plural"], name["singular"], *name.get("shortNames", ()), *name.get("categories", ())}
    return frozenset(names)


def resources(arguments: tuple[str, ...]) -> Iterator[str]:
    """Yield the resources in arguments of kubectl, such as `crid` of `get -n payments crid/checkout`."""
    verb, *rest = arguments
    if verb not in ON_RESOURCES:
        return
    words = iter(rest)
    for word in words:
        if word in ("-n", "--namespace", "-o", "--output", "-f", "-l", "-p", "--type", "--raw"):
            next(words, "")
        elif not word.startswith("-"):
            for resource in word.split(","):
                yield re.split(r"[./]", resource)[0]
            return


@pytest.mark.parametrize("command", commands("kubectl"), ids=str)
def test_documented_kubectl_command_and_its_resources_exist(command: Documented) -> None:
    if command.arguments[0] == "cloudrun-identity":  # our plugin: see test_documented_commands
        return
    assert command.arguments[0] in VERBS
    unknown = set(resources(command.arguments)) - own_resources() - BUILT_IN
    assert unknown <= ({"…"} if not command.is_complete else set())


@pytest.mark.parametrize("command", commands("gcloud"), ids=str)
def test_documented_gcloud_command_exists(command: Documented) -> None:
    text = " ".join(command.arguments)
    assert "…" in text or text == "run" or any(f"{text} ".startswith(f"{known} ") for known in GCLOUD)


def value(values: dict[str, Any], path: str) -> Any:
    """Return a value of the chart, or raise KeyError."""
    found: Any = values
    for key in re.split(r"(?<!\\)\.", path):
        if found == {}:  # a map of the user's, such as annotations
            return None
        found = found[key.replace("\\", "")]
    return found


@pytest.mark.parametrize("command", commands("helm"), ids=str)
def test_documented_helm_command_and_its_values_exist(command: Documented) -> None:
    verb, *rest = command.arguments
    assert verb in HELM
    chart = ROOT / "charts" / "cloudrun-identity"
    values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    for option, setting in pairwise(rest):
        if option == "--set":
            value(values, setting.partition("=")[0])
    if command.is_complete and verb in ("install", "upgrade"):
        assert ROOT / rest[1] == chart


@pytest.mark.parametrize("command", commands("make"), ids=str)
def test_documented_make_target_exists(command: Documented) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert command.arguments[0] in targets


@pytest.mark.parametrize("program", ["kubectl", "gcloud", "helm", "make"])
def test_documentation_has_complete_commands_of_each_tool(program: str) -> None:
    assert any(command.is_complete for command in commands(program))
