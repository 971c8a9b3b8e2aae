"""Types and defaults of the fields of a PolicyLedger."""

import operator
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError


def of_form(form: str, *, optional: bool = False) -> AfterValidator:
    """Require text with the same number of non-empty parts between slashes as `form`.

    Only the model checks this: the API server refuses CEL rules on nested lists for their cost.
    """

    def check(text: str) -> str:
        parts = text.split("/")
        if not (optional and not text) and (len(parts) != form.count("/") + 1 or not all(parts)):
            raise PydanticCustomError("form", "must be {form}", {"form": form})
        return text

    return AfterValidator(check)


Text = Annotated[str, Field(max_length=512)]
ObjectOwner = Annotated[str, Field(max_length=317), of_form("NAMESPACE/NAME")]
OptionalOwner = Annotated[str, Field(max_length=317), of_form("NAMESPACE/NAME", optional=True)]
UniqueID = Annotated[str, Field(max_length=64)]

SORTED = AfterValidator(lambda values: tuple(sorted(set(values))))
"""Sort a set of strings, so that equal sets are equal values and equal objects."""


def _is_empty(text: str) -> bool:
    return not text


def unset() -> Any:
    """Return the default of an optional text: empty, and left out of the object."""
    return Field(default="", exclude_if=_is_empty)


def no_items() -> Any:
    """Return the default of an optional list: empty, and left out of the object."""
    return Field(default=(), exclude_if=operator.not_)
