"""Fields the schema has and the operator does not serve yet: refused by name, never silently ignored."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from cloudrun_identity.api.resource import Resource
from cloudrun_identity.api.schema import ApiModel


@dataclass(frozen=True, slots=True)
class NotSupportedYet:
    """Marks a field that takes its default only."""

    def __get_pydantic_json_schema__(
        self, inner: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(inner) | {DESCRIPTION_NOTE: "Not supported yet: leave at the default."}


DESCRIPTION_NOTE = "x-description-note"
"""A keyword of ours: CRD generation appends its text to the field's description."""


def unsupported(obj: Resource) -> list[str]:
    """One line for each field of the spec that asks for what is not supported yet.

    A line reads `spec.whenDeleted: "Recreate" is not supported yet; use "Undelete"`.
    """
    return list(_refusals(obj.spec, "spec"))


def _refusals(model: ApiModel, path: str) -> Iterator[str]:
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        field_path = f"{path}.{info.alias}"
        if not any(isinstance(item, NotSupportedYet) for item in info.metadata):
            yield from _refusals_within(value, field_path)
        elif value != info.default:
            yield f"{field_path}: {_complaint(value, info)}"


def _refusals_within(value: Any, path: str) -> Iterator[str]:
    match value:
        case ApiModel():
            yield from _refusals(value, path)
        case tuple():
            for index, item in enumerate(value):
                yield from _refusals_within(item, f"{path}[{index}]")
        case _:
            return


def _complaint(value: Any, info: FieldInfo) -> str:
    match info.default:
        case str() | int() as default:
            return f"{json.dumps(value)} is not supported yet; use {json.dumps(default)}"
        case _:
            return "not supported yet; remove it"
