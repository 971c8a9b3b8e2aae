"""Recommendations about roles, by their subtypes."""

import json

import pytest
from google.cloud import recommender_v1

from cloudrun_identity.gcp.recommender_messages import role_recommendation


def message(subtype: str) -> recommender_v1.Recommendation:
    operation = {
        "action": "remove",
        "resource": "//cloudresourcemanager.googleapis.com/projects/shop-1234",
        "pathFilters": {
            "/iamPolicy/bindings/*/role": "roles/storage.admin",
            "/iamPolicy/bindings/*/members/*": "serviceAccount:checkout@shop-1234.iam.gserviceaccount.com",
        },
    }
    fields = {
        "name": "projects/1/locations/global/recommenders/r/recommendations/1",
        "recommenderSubtype": subtype,
        "stateInfo": {"state": "ACTIVE"},
        "content": {"operationGroups": [{"operations": [operation]}]},
    }
    return recommender_v1.Recommendation.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    ("subtype", "is_removal"),
    [
        ("REMOVE_ROLE", True),
        ("REPLACE_ROLE", False),
        ("REPLACE_ROLE_CUSTOMIZABLE", False),
        ("SERVICE_AGENT_WITHOUT_DEFAULT_ROLE", None),
        ("", None),
    ],
)
def test_only_a_removal_removes_a_role(subtype: str, is_removal: bool | None) -> None:
    found = role_recommendation(message(subtype), "shop-1234")
    assert (found.is_removal if found else None) is is_removal
