"""Discovery of groups, versions and resources, in the old and the aggregated format."""

from collections.abc import Iterable
from typing import Any

from .resources import Catalog, Resource

Object = dict[str, Any]

AGGREGATED = "APIGroupDiscoveryList"
_SUBRESOURCE_VERBS = ("get", "patch", "update")
VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0-playground",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
"""The Kubernetes version whose behavior this server has."""


def core_versions() -> Object:
    """Return `/api`."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(catalog: Catalog) -> Object:
    """Return `/apis`."""
    groups = [_group(name, versions) for name, versions in catalog.versions().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(catalog: Catalog, name: str) -> Object | None:
    """Return `/apis/GROUP`, or None if the group does not exist."""
    versions = catalog.versions().get(name)
    if versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resource_list(resources: Iterable[Resource]) -> Object:
    """Return `/apis/GROUP/VERSION` with the resources of one version."""
    listed, api_version = [], ""
    for resource in resources:
        api_version = resource.api_version
        listed.append(_entry(resource))
        listed += [
            {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": list(_SUBRESOURCE_VERBS),
            }
            for name in resource.subresources
        ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": listed}


def aggregated(catalog: Catalog, *, core: bool, version: str) -> Object:
    """Return one document of all groups and resources, in `apidiscovery.k8s.io/VERSION`."""
    items = []
    for name, versions in catalog.versions().items():
        if (name == "") is not core:
            continue
        listed = [
            {
                "version": each,
                "resources": [_aggregated_entry(r) for r in catalog.in_version(name, each)],
                "freshness": "Current",
            }
            for each in versions
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": listed})
    api_version = f"apidiscovery.k8s.io/{version}"
    return {"kind": AGGREGATED, "apiVersion": api_version, "metadata": {}, "items": items}


def gvk(resource: Resource) -> Object:
    """Return group, version and kind of a resource's objects."""
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _group(name: str, versions: list[str]) -> Object:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _entry(resource: Resource) -> Object:
    return {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
        **_names(resource),
    }


def _aggregated_entry(resource: Resource) -> Object:
    return {
        "resource": resource.plural,
        "responseKind": gvk(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
        **_names(resource),
        "subresources": [
            {"subresource": name, "responseKind": gvk(resource), "verbs": list(_SUBRESOURCE_VERBS)}
            for name in resource.subresources
        ],
    }


def _names(resource: Resource) -> Object:
    names: Object = {}
    if resource.short_names:
        names["shortNames"] = list(resource.short_names)
    if resource.categories:
        names["categories"] = list(resource.categories)
    return names
