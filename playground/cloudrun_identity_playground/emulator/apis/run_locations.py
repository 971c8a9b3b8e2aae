"""Locations of Cloud Run."""

from __future__ import annotations

import grpc

from cloudrun_identity_playground.emulator.errors import GoogleError, error_info

from .projects import Project

MULTI_REGION = "global"
"""Location of multi-region services."""

# https://cloud.google.com/run/docs/locations, read in November 2026.
REGIONS = frozenset(
    {
        "africa-south1",
        "asia-east1",
        "asia-east2",
        "asia-northeast1",
        "asia-northeast2",
        "asia-northeast3",
        "asia-south1",
        "asia-south2",
        "asia-southeast1",
        "asia-southeast2",
        "asia-southeast3",
        "australia-southeast1",
        "australia-southeast2",
        "europe-central2",
        "europe-north1",
        "europe-north2",
        "europe-southwest1",
        "europe-west1",
        "europe-west10",
        "europe-west12",
        "europe-west2",
        "europe-west3",
        "europe-west4",
        "europe-west6",
        "europe-west8",
        "europe-west9",
        "me-central1",
        "me-central2",
        "me-west1",
        "northamerica-northeast1",
        "northamerica-northeast2",
        "northamerica-south1",
        "southamerica-east1",
        "southamerica-west1",
        "us-central1",
        "us-east1",
        "us-east4",
        "us-east5",
        "us-south1",
        "us-west1",
        "us-west2",
        "us-west3",
        "us-west4",
    }
)
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
