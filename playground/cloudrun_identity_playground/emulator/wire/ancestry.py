"""Ancestors of a project, a method of Resource Manager v1 only.

https://cloud.google.com/resource-manager/reference/rest/v1/projects/getAncestry
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from google.cloud import resourcemanager_v3 as resourcemanager

_URL = re.compile(r"/v1/(projects/[^/:]+):getAncestry")
_SERVICE = "google.cloud.resourcemanager.v3"


async def ancestry(path: str, call: Callable[[str, Any], Any]) -> dict[str, Any] | None:
    """Return the project, its folders and its organization; None for a URL of another method.

    `call` calls a method of version 3.

    Raises GoogleError: as `GetProject` and `GetFolder`.
    """
    match = _URL.fullmatch(path)
    if match is None:
        return None
    project = await call(f"{_SERVICE}.Projects/GetProject", resourcemanager.GetProjectRequest(name=match[1]))
    found = [_ancestor(f"projects/{project.project_id}")]
    name = project.parent
    while name:
        found.append(_ancestor(name))
        if not name.startswith("folders/"):
            break
        folder = await call(f"{_SERVICE}.Folders/GetFolder", resourcemanager.GetFolderRequest(name=name))
        name = folder.parent
    return {"ancestor": found}


def _ancestor(name: str) -> dict[str, Any]:
    collection, _, identifier = name.partition("/")
    return {"resourceId": {"type": collection.removesuffix("s"), "id": identifier}}
