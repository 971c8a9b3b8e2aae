"""The status of an object that does not fit the models: one that an older or a laxer CRD let in."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from cloudrun_identity.api import Condition, Reason
from cloudrun_identity.controllers.conditions import Review, conditions
from cloudrun_identity.controllers.outcomes import Refused


def what_is_wrong(error: ValidationError) -> str:
    """The first thing that does not fit, in one line: `spec.role: Field required`."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def status_of_unreadable(raw: Mapping[str, Any], error: ValidationError, now: datetime) -> dict[str, Any]:
    """The object's status with conditions that say what is wrong; whatever else it holds stays as it is."""
    status, generation = dict(raw.get("status") or {}), int(raw["metadata"].get("generation", 0))
    message = (
        f"{what_is_wrong(error)}; nothing is done for the object, and what it holds stays, until it is "
        "edited to fit the definition of its kind"
    )
    review = Review(Refused(Reason.INVALID_SPEC, message), difference=None)
    found = conditions(_readable(status.get("conditions") or ()), generation, review, now)
    return status | {
        "observedGeneration": generation,
        "conditions": [condition.to_dict() for condition in found],
    }


def _readable(listed: Iterable[Any]) -> Iterable[Condition]:
    for each in listed:
        try:
            yield Condition.model_validate(each)
        except ValidationError:
            continue
