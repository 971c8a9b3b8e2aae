"""Answers that never change: APIs are enabled, and Cloud Run has its locations.

gcloud asks for both before it deploys: https://cloud.google.com/service-usage/docs/reference/rest/v1/services
and https://cloud.google.com/run/docs/reference/rest/v1/projects.locations/list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cloudrun_identity_playground.emulator.apis.run_locations import REGIONS

_SERVICE = re.compile(r"/v1/(projects/[^/]+)/services/([a-z0-9-]+\.googleapis\.com)")
_ENABLE = re.compile(rf"{_SERVICE.pattern}:enable")
_BATCH_ENABLE = re.compile(r"/v1/(projects/[^/]+)/services:batchEnable")
_TYPES = "type.googleapis.com/google.api.serviceusage.v1"
_LOCATIONS = re.compile(r"/v1/(projects/[^/]+)/locations")


def fixed_answer(verb: str, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the state of an API in a project, or the locations; None for a request to another method."""
    match verb:
        case "GET" if (match := _SERVICE.fullmatch(path)) is not None:
            return _enabled(*match.groups())
        case "POST" if (match := _ENABLE.fullmatch(path)) is not None:
            return _done("EnableService", service=_enabled(*match.groups()))
        case "POST" if (match := _BATCH_ENABLE.fullmatch(path)) is not None:
            services = [_enabled(match[1], api) for api in body.get("serviceIds", ())]
            return _done("BatchEnableServices", services=services)
        case "GET" if (match := _LOCATIONS.fullmatch(path)) is not None:
            named = [{"name": f"{match[1]}/locations/{each}", "locationId": each} for each in sorted(REGIONS)]
            return {"locations": named}
    return None


def _enabled(project: str, api: str) -> dict[str, Any]:
    name = f"{project}/services/{api}"
    return {"name": name, "parent": project, "config": {"name": api}, "state": "ENABLED"}


def _done(method: str, **response: Any) -> dict[str, Any]:
    """Return an operation that is done, with the name that Google gives to one without work."""
    typed = {"@type": f"{_TYPES}.{method}Response", **response}
    return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": typed}
