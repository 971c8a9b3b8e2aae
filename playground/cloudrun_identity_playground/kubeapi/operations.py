"""Create, read, update, patch and delete of one object, without HTTP."""

import copy
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from . import applying, builtin, checks, metadata, ownership, patches
from .defaults import set_defaults
from .errors import (
    ApiError,
    Cause,
    FieldError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    method_not_allowed,
    not_found,
    unsupported_media_type,
)
from .lifecycle import Lifecycle
from .ownership import Writer
from .resources import NAMESPACES, Catalog, Resource
from .schema import prune
from .store import ObjectKey, Store, Stored, encode
from .validation import validate

Object = dict[str, Any]


class FieldValidation(StrEnum):
    """Handling of fields that the schema does not have; they are never stored."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"


@dataclass
class Write:
    """Options of a write."""

    manager: str = "unknown"
    subresource: str = ""
    dry_run: bool = False
    field_validation: FieldValidation = FieldValidation.WARN
    force: bool = False
    propagation: str = ""
    """Propagation policy of a deletion; empty for the default."""
    is_patch: bool = False
    """True for a patch other than an apply patch; its errors are those of the patch."""
    duplicates: list[str] = field(default_factory=list)
    """Fields that the body has twice; reported once."""
    warnings: list[str] = field(default_factory=list)
    """Warnings for the client; filled during the write."""


@dataclass
class Operations:
    """Operations on a store. Every write takes effect at once, except dry runs."""

    store: Store
    catalog: Catalog
    lifecycle: Lifecycle

    def get(self, resource: Resource, key: ObjectKey) -> Stored:
        """Return one object.

        Raises:
            ApiError: 404.

        """
        stored = self.store.find(resource.storage, key)
        if stored is None:
            raise not_found(resource, key[1])
        return stored

    def create(self, resource: Resource, namespace: str, body: Object, write: Write) -> Stored:
        """Create an object; the store takes over `body`.

        Raises:
            ApiError: 400, 403, 404, 405, 409 or 422, as a real API server answers.

        """
        return self._create(resource, namespace, body, write, operation="Update")

    def update(self, resource: Resource, key: ObjectKey, body: Object, write: Write) -> Stored:
        """Replace an object, or its status through the subresource.

        Raises:
            ApiError: 400, 404, 409 or 422.

        """
        old = self.get(resource, key)
        checks.check_key(key, metadata.of(body))
        checks.check_preconditions(resource, old.object["metadata"], {"uid": body["metadata"].get("uid")})
        if body["metadata"].get("resourceVersion", "0") in ("", "0") and resource.definition:
            missing = "Invalid value: 0: must be specified for an update"
            error = FieldError("metadata.resourceVersion", Cause.INVALID, missing)
            raise invalid(resource.plural, resource.group, key[1], [error])
        return self._update(resource, key, old, body, write, operation="Update")

    def patch(
        self, resource: Resource, key: ObjectKey, patch: Any, media_type: str, write: Write
    ) -> tuple[Stored, bool]:
        """Patch an object, and return whether it was created, which an apply patch does to a missing one.

        Raises:
            ApiError: 400, 404, 409, 415 or 422.

        """
        if media_type == patches.APPLY_PATCH:
            return self._apply(resource, key, patch, write)
        old = self.get(resource, key)
        write.is_patch = True
        shown = json.loads(encode(builtin.rendered(resource, old.object)))  # faster than deepcopy
        match media_type:
            case patches.JSON_PATCH:
                new = patches.json_patch(shown, patch)
            case patches.MERGE_PATCH:
                new = patches.merge_patch(shown, patch)
            case patches.STRATEGIC_PATCH if not resource.definition:
                new = patches.strategic_patch(shown, patch, resource.schema)
            case _:
                raise unsupported_media_type(patches.ACCEPTED)
        if not isinstance(new, dict):
            raise bad_request("error decoding patch: the result must be an object")
        return self._update(resource, key, old, new, write, operation="Update"), False

    def delete(self, resource: Resource, key: ObjectKey, options: Object, write: Write) -> Stored:
        """Delete an object. With finalizers, it remains with a deletionTimestamp.

        Raises:
            ApiError: 404, or 409 if a precondition in the options does not hold.

        """
        stored = self.get(resource, key)
        checks.check_preconditions(resource, stored.object["metadata"], options.get("preconditions") or {})
        return stored if write.dry_run else self.lifecycle.delete(resource, key, write.propagation)

    def _apply(self, resource: Resource, key: ObjectKey, config: Object, write: Write) -> tuple[Stored, bool]:
        if not isinstance(config, dict) or not config.get("apiVersion") or not config.get("kind"):
            raise bad_request("invalid object type: an apply patch names its apiVersion and kind")
        checks.check_type(resource, config)
        if (config.get("metadata") or {}).get("managedFields") is not None:
            raise bad_request("metadata.managedFields must be nil")
        live = self.store.find(resource.storage, key)
        if live is None and write.subresource:
            raise not_found(resource, key[1])
        checks.check_key(key, metadata.of(config))
        if live is None:
            checks.check_absent(resource, key[1], config["metadata"])
        if not config["metadata"].get("name"):
            raise bad_request(
                f"the name of the object ({key[1]} based on URL) was undeterminable: name must be provided"
            )
        applying.check_types(config, resource.schema)
        self._check_fields(resource, config, write)
        writer = Writer(write.manager, "Apply", write.subresource)
        merged = applying.apply(
            builtin.rendered(resource, live.object) if live is not None else None,
            config,
            resource.schema,
            writer,
            force=write.force,
            split_status=resource.has_status,
        )
        if live is None:
            return self._create(resource, key[0], merged, write, operation="Apply"), True
        return self._update(resource, key, live, merged, write, operation="Apply"), False

    def _create(
        self, resource: Resource, namespace: str, new: Object, write: Write, *, operation: str
    ) -> Stored:
        own = metadata.of(new)
        checks.check_type(resource, new)
        self._check_namespace(resource, namespace, own)
        name = metadata.name_for(own)
        if own.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        key = (namespace, name)
        if resource.terminating:
            raise method_not_allowed("create not allowed while custom resource definition is terminating")
        metadata.stamp(own, generation=resource.tracks_generation)
        if resource.has_status:
            new.pop("status", None)
        new = self._admit(resource, new, None, write)
        if self.store.find(resource.storage, key) is not None:
            raise already_exists(resource, name)
        if operation == "Update":
            own.pop("managedFields", None)
            ownership.track_update(None, new, resource.schema, Writer(write.manager, operation))
        if write.dry_run:
            return Stored(new)
        checks.check_size(new)
        return self.lifecycle.commit(resource, key, new)

    def _update(
        self, resource: Resource, key: ObjectKey, old: Stored, new: Object, write: Write, *, operation: str
    ) -> Stored:
        checks.check_type(resource, new)
        before = builtin.rendered(resource, old.object)
        own = metadata.of(new)
        checks.check_key(key, own)
        prepared_on = own.get("resourceVersion")
        if prepared_on and prepared_on != before["metadata"]["resourceVersion"]:
            raise conflict(resource, key[1])
        if write.subresource == "status":
            new = _with_status_of(before, new)
        else:
            checks.check_identity(resource, key[1], before["metadata"], own)
            if resource.has_status:
                new = _with_old_status(before, new)
        own = new["metadata"]
        metadata.carry_over(before["metadata"], own)
        new = self._admit(resource, new, old.object, write)
        if operation == "Update":
            writer = Writer(write.manager, operation, write.subresource)
            own.setdefault("managedFields", before["metadata"].get("managedFields") or [])
            ownership.track_update(old.object, new, resource.schema, writer)
        if resource.tracks_generation and _desired(new) != _desired(old.object):
            own["generation"] = own.get("generation", 0) + 1
        if new == old.object:
            return old
        if write.dry_run:
            return Stored(new)
        checks.check_size(new)
        return self.lifecycle.commit(resource, key, new)

    def _admit(self, resource: Resource, new: Object, old: Object | None, write: Write) -> Object:
        """Prune, default and check an object; return the form in which it is stored."""
        self._check_fields(resource, new, write)
        set_defaults(new, resource.schema)
        new.update(apiVersion=resource.api_version, kind=resource.kind)
        own = new["metadata"]
        shown_before = builtin.rendered(resource, old) if old is not None else None
        found = metadata.errors(own, old["metadata"] if old is not None else None)
        name = own.get("name", "")
        if errors := validate(new, resource.schema, shown_before, found):
            raise checks.refusal(resource, name, errors, new if write.is_patch else None)
        if resource.definition:
            write.warnings += metadata.warnings(own)
        builtin.complete(resource, new, shown_before)
        if errors := builtin.errors(resource, new, shown_before):
            raise invalid(resource.kind, resource.group, name, errors)
        return builtin.stored(resource, new)

    def _check_fields(self, resource: Resource, new: Object, write: Write) -> None:
        odd = [f"metadata.{path}" for path in prune(new["metadata"], metadata.SCHEMA, root=False)]
        unknown = [f'unknown field "{path}"' for path in (*prune(new, resource.schema), *odd)]
        found, write.duplicates = [*write.duplicates, *unknown], []
        if not found:
            return
        match write.field_validation:
            case FieldValidation.STRICT if found[0].startswith("line "):
                why = "error converting YAML to JSON: yaml: unmarshal errors:\n  " + "\n  ".join(found)
                raise bad_request(f"error strict decoding YAML: {why}")
            case FieldValidation.STRICT if write.is_patch:
                raise checks.invalid_patch(new, f"strict decoding error: {', '.join(found)}")
            case FieldValidation.STRICT:
                raise checks.undecodable(resource, f"strict decoding error: {', '.join(found)}")
            case FieldValidation.WARN:
                write.warnings += found
            case FieldValidation.IGNORE:
                pass

    def _check_namespace(self, resource: Resource, namespace: str, own: Object) -> None:
        if not resource.namespaced:
            own.pop("namespace", None)
            return
        if own.setdefault("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        owner = self.store.find(NAMESPACES, ("", namespace))
        if owner is None:
            raise not_found(_resource(self.catalog, NAMESPACES), namespace)
        if owner.object["metadata"].get("deletionTimestamp"):
            raise forbidden(
                resource,
                own.get("name") or "",
                f"unable to create new content in namespace {namespace} because it is being terminated",
            )


def _resource(catalog: Catalog, storage: tuple[str, str]) -> Resource:
    resource = catalog.stored_as(storage)
    if resource is None:
        raise LookupError(f"{storage} is not served")
    return resource


def _with_status_of(old: Object, new: Object) -> Object:
    """Return the old object with the new status and managedFields."""
    own = dict(old["metadata"])
    if "managedFields" in new["metadata"]:
        own["managedFields"] = new["metadata"]["managedFields"]
    merged = {name: copy.deepcopy(value) for name, value in old.items() if name not in ("metadata", "status")}
    merged["metadata"] = own
    if new.get("status") is not None:
        merged["status"] = new["status"]
    return merged


def _with_old_status(old: Object, new: Object) -> Object:
    merged = {name: value for name, value in new.items() if name != "status"}
    if "status" in old:
        merged["status"] = copy.deepcopy(old["status"])
    return merged


def _desired(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status", "apiVersion")}
