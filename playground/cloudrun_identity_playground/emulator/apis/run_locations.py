"""Locations of Cloud Run."""

from __future__ import annotations

import grpc

from cloudrun_identity.api import MULTI_REGION
from cloudrun_identity.gcp.run_regions import RUN_LOCATIONS
from cloudrun_identity_playground.emulator.errors import GoogleError, error_info

from .projects import Project

REGIONS = frozenset(RUN_LOCATIONS) - {MULTI_REGION}
"""Regions that serve Cloud Run."""


def check_location(location: str, project: Project) -> None:
    """Check that a location exists.

    Google's front end answers alike for a location that does not exist and for one that the project may not
    use (https://github.com/firezone/firezone/pull/7711).

    Raises GoogleError: PERMISSION_DENIED.
    """
    if location in REGIONS or location == MULTI_REGION:
        return
    raise GoogleError(
        grpc.StatusCode.PERMISSION_DENIED,
        f"Permission denied on 'locations/{location}' (or it may not exist).",
        error_info(
            "LOCATION_POLICY_VIOLATED",
            "googleapis.com",
            consumer=f"projects/{project.id}",
            location=location,
            service="run.googleapis.com",
        ),
    )
