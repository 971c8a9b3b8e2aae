"""Resource Manager v3: folders and organizations."""

from __future__ import annotations

from datetime import UTC, datetime

from google.cloud import resourcemanager_v3 as resourcemanager

from .containers import Container, Containers, etag
from .paging import page, page_size
from .rpc import serves
from .search import matches, terms

_Folder = resourcemanager.Folder
_Organization = resourcemanager.Organization


class Folders:
    """`google.cloud.resourcemanager.v3.Folders` without policies. Only the seed creates folders."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    @serves("google.cloud.resourcemanager.v3.Folders/GetFolder")
    def get(self, request: resourcemanager.GetFolderRequest) -> resourcemanager.Folder:
        """Return a folder."""
        return _folder(self._containers.resolve_in("folders", request.name))

    @serves("google.cloud.resourcemanager.v3.Folders/ListFolders")
    def list(self, request: resourcemanager.ListFoldersRequest) -> resourcemanager.ListFoldersResponse:
        """List the folders directly in a folder or an organization."""
        parent = self._containers.resolve(request.parent).name
        found = {each.name: _folder(each) for each in self._folders() if each.parent == parent}
        folders, token = page(found, request.page_token, page_size(request.page_size, 300, 300))
        return resourcemanager.ListFoldersResponse(folders=folders, next_page_token=token)

    @serves("google.cloud.resourcemanager.v3.Folders/SearchFolders")
    def search(self, request: resourcemanager.SearchFoldersRequest) -> resourcemanager.SearchFoldersResponse:
        """List the folders that match a query such as `displayName=Prod parent=organizations/1`."""
        wanted = terms(request.query)
        found = {
            each.name: _folder(each)
            for each in self._folders()
            if matches({"displayName": each.display_name, "parent": each.parent, "state": "ACTIVE"}, wanted)
        }
        folders, token = page(found, request.page_token, page_size(request.page_size, 300, 300))
        return resourcemanager.SearchFoldersResponse(folders=folders, next_page_token=token)

    def _folders(self) -> tuple[Container, ...]:
        return tuple(each for each in self._containers if each.collection == "folders")


class Organizations:
    """`google.cloud.resourcemanager.v3.Organizations` without policies. Only the seed creates them."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    @serves("google.cloud.resourcemanager.v3.Organizations/GetOrganization")
    def get(self, request: resourcemanager.GetOrganizationRequest) -> resourcemanager.Organization:
        """Return an organization."""
        return _organization(self._containers.resolve_in("organizations", request.name))

    @serves("google.cloud.resourcemanager.v3.Organizations/SearchOrganizations")
    def search(
        self, request: resourcemanager.SearchOrganizationsRequest
    ) -> resourcemanager.SearchOrganizationsResponse:
        """List the organizations that match a query such as `domain:example.com`."""
        wanted = terms(request.query)
        found = {
            each.name: _organization(each)
            for each in self._containers
            if each.collection == "organizations" and matches({"domain": each.display_name}, wanted)
        }
        organizations, token = page(found, request.page_token, page_size(request.page_size, 50, 50))
        return resourcemanager.SearchOrganizationsResponse(organizations=organizations, next_page_token=token)


def _folder(container: Container) -> resourcemanager.Folder:
    created = datetime.fromtimestamp(container.created_at, UTC)
    return _Folder(
        name=container.name,
        parent=container.parent,
        display_name=container.display_name,
        state=_Folder.State.ACTIVE,
        create_time=created,
        update_time=created,
        etag=etag(container.name, container.created_at),
    )


def _organization(container: Container) -> resourcemanager.Organization:
    created = datetime.fromtimestamp(container.created_at, UTC)
    return _Organization(
        name=container.name,
        display_name=container.display_name,
        directory_customer_id=f"C{container.name.rpartition('/')[2]}",
        state=_Organization.State.ACTIVE,
        create_time=created,
        update_time=created,
        etag=etag(container.name, container.created_at),
    )
