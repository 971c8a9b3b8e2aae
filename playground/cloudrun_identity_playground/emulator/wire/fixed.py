"""Answers that never change: APIs are enabled, and Cloud Run has its locations.

gcloud asks for both before it deploys: https://cloud.google.com/service-usage/docs/reference/rest/v1/services/get
and https://cloud.google.com/run/docs/reference/rest/v1/projects.locations/list.
"""

from __future__ import annotations

import re
from typing import Any

from cloudrun_identity_playground.emulator.apis.run_locations import REGIONS

_SERVICE = re.compile(r"/v1/(projects/[^/]+)/services/([a-z0-9-]+\.googleapis\.com)")
_LOCATIONS = re.compile(r"/v1/(projects/[^/]+)/locations")


def fixed_answer(path: str) -> dict[str, Any] | None:
    """Return the state of an API in a project, or the locations; None for a path of another method."""
    if (match := _SERVICE.fullmatch(path)) is not None:
        project, api = match.groups()
        name = f"{project}/services/{api}"
        return {"name": name, "parent": project, "config": {"name": api}, "state": "ENABLED"}
    if (match := _LOCATIONS.fullmatch(path)) is not None:
        named = [{"name": f"{match[1]}/locations/{each}", "locationId": each} for each in sorted(REGIONS)]
        return {"locations": named}
    return None
