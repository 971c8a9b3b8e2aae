"""What the older versions of Resource Manager say otherwise than version 3: they share its handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Reshape = Callable[[Json], Json]
"""From the JSON of version 3 to that of an older version."""


def project(shown: Json) -> Json:
    """A project of version 1."""
    kind, _, number = shown.get("parent", "").partition("/")
    old = {
        "projectNumber": shown["name"].removeprefix("projects/"),
        "projectId": shown["projectId"],
        "lifecycleState": shown["state"],
        "name": shown["displayName"],
    }
    if number:
        old["parent"] = {"type": kind.removesuffix("s"), "id": number}
    return old


def projects(shown: Json) -> Json:
    """A page of projects of version 1."""
    return {**shown, "projects": [project(each) for each in shown.get("projects", ())]}


def organization(shown: Json) -> Json:
    """An organization of version 1."""
    return {
        "name": shown["name"],
        "displayName": shown["displayName"],
        "lifecycleState": shown["state"],
        "owner": {"directoryCustomerId": shown["directoryCustomerId"]},
    }


def organizations(shown: Json) -> Json:
    """A page of organizations of version 1."""
    return {**shown, "organizations": [organization(each) for each in shown.get("organizations", ())]}


def folder(shown: Json) -> Json:
    """A folder of version 2."""
    return {
        **{name: value for name, value in shown.items() if name != "state"},
        "lifecycleState": shown["state"],
    }


def folders(shown: Json) -> Json:
    """A page of folders of version 2."""
    return {**shown, "folders": [folder(each) for each in shown.get("folders", ())]}


RESHAPES: Mapping[str, Reshape] = {
    "GetProject": project,
    "SearchProjects": projects,
    "GetOrganization": organization,
    "SearchOrganizations": organizations,
    "GetFolder": folder,
    "ListFolders": folders,
    "SearchFolders": folders,
}
"""By the name of the method; what is not here, policies among it, is the same in all versions."""

RENAMED: Mapping[str, str] = {"filter": "query"}
"""Fields of requests that version 3 calls otherwise."""
