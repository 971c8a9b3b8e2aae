"""Projects, folders and tags that a recording creates. The emulator creates none, so it cannot know them.

A recording begins before they exist: Google denies the first read of such a project. Calls about them are
therefore counted as not served, from the first call on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from .recordings import Exchange

_HOST = re.compile(r"(?:[a-z0-9-]+-)?cloudresourcemanager\.googleapis\.com")
_COLLECTION = re.compile(r"/v\d\w*/(projects|folders|tagKeys|tagValues|tagBindings)")
_CONTAINER = re.compile(r"/v\d\w*/((?:projects|folders)/[^/:?]+)")
_OPERATION = re.compile(r"/v\d\w*/operations/[^/:?]+")


class Creations:
    """The resources that a recording creates with calls that the emulator does not serve."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._names: set[str] = set()
        made = [each for each in exchanges if _creates(each) and each.status == HTTPStatus.OK]
        for exchange in made:
            if isinstance(exchange.sent, dict) and "projectId" in exchange.sent:
                self._names.add(f"projects/{exchange.sent['projectId']}")
        if any(each.path.endswith("/folders") for each in made):
            answers = (each.answer for each in exchanges if _is_operation(each))
            self._names |= {name for answer in answers if (name := _made(answer)).startswith("folders/")}

    def concern(self, exchange: Exchange) -> bool:
        """Return whether an exchange creates such a resource, waits for one, or is about one."""
        if _HOST.fullmatch(exchange.host) is None:
            return False
        found = _CONTAINER.match(exchange.path)
        return (
            _creates(exchange) or _is_operation(exchange) or (found is not None and found[1] in self._names)
        )


def _creates(exchange: Exchange) -> bool:
    return exchange.verb == "POST" and _COLLECTION.fullmatch(exchange.path) is not None


def _is_operation(exchange: Exchange) -> bool:
    return _HOST.fullmatch(exchange.host) is not None and _OPERATION.fullmatch(exchange.path) is not None


def _made(answer: Any) -> str:
    """Return the name of the resource in the response of an operation; empty if there is none."""
    response = answer.get("response") if isinstance(answer, dict) else None
    return str(response.get("name", "")) if isinstance(response, dict) else ""
