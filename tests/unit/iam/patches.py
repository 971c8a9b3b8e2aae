"""Application of the `kubectl patch` commands that refusals propose."""

import json
import shlex
from typing import Any

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.proposals import patch_command


def operations(command: str) -> list[dict[str, Any]]:
    """Return the operations of a command for one project, as a shell would pass them to kubectl."""
    words = shlex.split(command)
    assert words[:3] == ["kubectl", "patch", "managedproject"]
    patch: list[dict[str, Any]] = json.loads(words[words.index("-p") + 1])
    return patch


def patched(project: ManagedProject, denied: Denied) -> ManagedProject:
    """Return the project after the proposed command, which must be accepted."""
    raw = project.to_dict()
    for operation in operations(patch_command(denied.proposals)):
        *parents, last = operation["path"].removeprefix("/").split("/")
        parent: Any = raw
        for key in parents:
            parent = parent[int(key)] if isinstance(parent, list) else parent[key]
        if operation["op"] == "test":
            assert parent[last] == operation["value"]
        elif last == "-":
            parent.append(operation["value"])
        elif isinstance(parent, list):
            parent[int(last)] = operation["value"]
        else:
            parent[last] = operation["value"]
    return ManagedProject.model_validate(raw)
