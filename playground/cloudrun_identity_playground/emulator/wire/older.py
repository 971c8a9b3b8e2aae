"""Differences of older Resource Manager versions to version 3. They share its handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Reshape = Callable[[Json], Json]
"""Converts JSON of version 3 to an older version."""


def project(shown: Json) -> Json:
    """Return a project in version 1."""
    kind, _, number = shown.get("parent", "").partition("/")
    old = {
        "projectNumber": shown["name"].removeprefix("projects/"),
        "projectId": shown["projectId"],
        "lifecycleState": shown["state"],
        **({"name": shown["displayName"]} if "displayName" in shown else {}),
    }
    old |= {name: shown[name] for name in ("createTime", "labels") if name in shown}
    if number:
        old["parent"] = {"type": kind.removesuffix("s"), "id": number}
    return old


def projects(shown: Json) -> Json:
    """Return a page of projects in version 1."""
    return {**shown, "projects": [project(each) for each in shown.get("projects", ())]}


def organization(shown: Json) -> Json:
    """Return an organization in version 1."""
    return {
        "name": shown["name"],
        "displayName": shown["displayName"],
        "lifecycleState": shown["state"],
        "creationTime": shown["createTime"],
        "owner": {"directoryCustomerId": shown["directoryCustomerId"]},
    }


def organizations(shown: Json) -> Json:
    """Return a page of organizations in version 1."""
    return {**shown, "organizations": [organization(each) for each in shown.get("organizations", ())]}


def folder(shown: Json) -> Json:
    """Return a folder in version 2."""
    return {
        **{name: value for name, value in shown.items() if name not in ("state", "etag", "updateTime")},
        "lifecycleState": shown["state"],
    }


def folders(shown: Json) -> Json:
    """Return a page of folders in version 2."""
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
"""Conversions by method. All other responses, policies included, are the same in all versions."""

RENAMED: Mapping[str, str] = {"filter": "query"}
"""Request fields that have another name in version 3."""
