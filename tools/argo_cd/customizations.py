"""Files of `argocd/`, from one text per script.

The layout is that of `resource_customizations` in the repository of Argo CD:
https://argo-cd.readthedocs.io/en/stable/operator-manual/health/#way-2-contribute-a-custom-health-check
https://argo-cd.readthedocs.io/en/stable/operator-manual/resource_actions/#contributing-a-custom-resource-action

`argocd-cm.yaml` has the same scripts in the form that an installed Argo CD reads.
"""

from pathlib import Path
from typing import Any, Final

import yaml

from cloudrun_identity.api import KINDS, CloudRunIdentity, PolicyLedger
from cloudrun_identity.api.group import GROUP

from .samples import Sample, samples

SOURCES: Final = Path(__file__).parent
CONFIG_MAP: Final = "argocd-cm.yaml"
_YAML_HEADER: Final = "# Generated from tools/argo_cd by `make generate`. Do not edit.\n"
_CONFIG_MAP_HEADER: Final = (
    _YAML_HEADER
    + "# kubectl apply --server-side --field-manager=cloudrun-identity -f argocd-cm.yaml adds these keys to\n"
    "# the ConfigMap of Argo CD, and leaves all others.\n"
)
_ACTIONS: Final = ("reconcile", "suspend", "resume", "observe", "manage")
_ACTIONS_OF_KIND: Final = {CloudRunIdentity.__name__: (*_ACTIONS, "force-delete")}


def kinds() -> tuple[str, ...]:
    """Return the kinds with a health check: all that users apply."""
    return tuple(kind for kind in KINDS if kind != PolicyLedger.__name__)


def actions(kind: str) -> tuple[str, ...]:
    """Return the names of the actions of a kind, in the order in which Argo CD lists them."""
    return _ACTIONS_OF_KIND.get(kind, _ACTIONS)


def health_script() -> str:
    """Return the health check of every kind."""
    return _source("health.lua")


def discovery_script(kind: str) -> str:
    """Return the script that lists the actions of a kind."""
    snippets = (_source(f"actions/{action}/discovery.lua") for action in actions(kind))
    return _source("discovery.lua") + "".join(snippets) + "return actions\n"


def action_script(action: str) -> str:
    """Return the script of an action."""
    return _source(f"actions/{action}/action.lua")


def files() -> dict[str, str]:
    """Return the text of every generated file by its path in `argocd/`."""
    found = {CONFIG_MAP: _CONFIG_MAP_HEADER + _yaml(_config_map())}
    for kind in kinds():
        found |= {f"{GROUP}/{kind}/{name}": text for name, text in _files_of(kind).items()}
    return found


def _files_of(kind: str) -> dict[str, str]:
    sample = samples()[kind]
    found = {"health.lua": health_script(), "actions/discovery.lua": discovery_script(kind)}
    for action in actions(kind):
        found[f"actions/{action}/action.lua"] = action_script(action)
    found["health_test.yaml"] = _yaml(_health_tests(sample))
    for name, case in sample.health_cases.items():
        found[f"testdata/{name}.yaml"] = _yaml(case.obj)
    found["actions/action_test.yaml"] = _yaml(_action_tests(kind, sample))
    for name, obj in sample.action_objects.items():
        found[f"actions/testdata/{name}.yaml"] = _yaml(obj)
    return found


def _health_tests(sample: Sample) -> dict[str, Any]:
    return {
        "tests": [
            {
                "healthStatus": {"status": case.status, "message": case.message},
                "inputPath": f"testdata/{name}.yaml",
            }
            for name, case in sample.health_cases.items()
        ]
    }


def _action_tests(kind: str, sample: Sample) -> dict[str, Any]:
    discovery = [
        {
            "inputPath": f"testdata/{name}.yaml",
            "result": [
                {"name": action, **presentation(action), "disabled": action not in enabled}
                for action in actions(kind)
            ],
        }
        for name, enabled in sample.enabled_actions.items()
    ]
    ran = [
        {
            "action": action,
            "inputPath": f"testdata/{before}.yaml",
            "expectedOutputPath": f"testdata/{after}.yaml",
        }
        for action, (before, after) in sample.action_cases.items()
    ]
    return {"discoveryTests": discovery, "actionTests": ran}


def presentation(action: str) -> dict[str, str]:
    """Return the name and icon of an action in the user interface, as its discovery script sets them."""
    lines = (line.strip().rstrip(",") for line in _source(f"actions/{action}/discovery.lua").splitlines())
    pairs = (line.split(" = ", 1) for line in lines if line.startswith('["'))
    shown = {name.strip('[]"'): value.strip('"') for name, value in pairs}
    return {name: shown[name] for name in ("displayName", "iconClass")}


def _config_map() -> dict[str, Any]:
    data = {}
    for kind in kinds():
        data[f"resource.customizations.health.{GROUP}_{kind}"] = health_script()
        definitions = [{"name": action, "action.lua": action_script(action)} for action in actions(kind)]
        customized = {"discovery.lua": discovery_script(kind), "definitions": definitions}
        data[f"resource.customizations.actions.{GROUP}_{kind}"] = _yaml(customized)
    metadata = {"name": "argocd-cm", "namespace": "argocd"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    """Write texts of several lines as literal blocks, and no anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
