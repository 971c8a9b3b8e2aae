"""Locations of Cloud Run, which no method of its gRPC API lists.

`projects.locations.list` exists in the REST API of version 1 only
(https://cloud.google.com/run/docs/reference/rest/v1/projects.locations/list). The lists of services, jobs and
worker pools accept no wildcard for the location.
"""

from typing import Final

from cloudrun_identity.api import MULTI_REGION

RUN_LOCATIONS: Final = (
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
    MULTI_REGION,
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
)
"""Regions of https://cloud.google.com/run/docs/locations, read in November 2026, and `global`."""
