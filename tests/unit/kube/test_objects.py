"""Raw objects as they are kept."""

import copy
import json
from typing import Any

from cloudrun_identity.kube.objects import compact

OBJECT: dict[str, Any] = {
    "kind": "IAMBinding",
    "metadata": {
        "name": "web",
        "labels": {"team": "payments"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "cloudrun-identity.dev/reconcile-requested-at": "now",
        },
        "managedFields": [{"manager": "kubectl"}],
        "finalizers": ["cloudrun-identity.dev/finalizer"],
    },
    "spec": {"suspend": False, "members": [{"principal": "user:ann@example.com"}], "description": None},
}


def test_what_is_kept_lacks_what_only_others_need_and_nothing_else() -> None:
    expected = copy.deepcopy(OBJECT)
    del expected["metadata"]["managedFields"]
    del expected["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    before = copy.deepcopy(OBJECT)
    assert compact(OBJECT) == expected
    assert before == OBJECT, "the original is as it was"


def test_objects_that_are_kept_share_their_texts() -> None:
    one, other = (compact(json.loads(json.dumps(OBJECT))) for _ in range(2))
    assert one["spec"]["members"][0]["principal"] is other["spec"]["members"][0]["principal"]
    assert all(mine is yours for mine, yours in zip(one["metadata"], other["metadata"], strict=True))
