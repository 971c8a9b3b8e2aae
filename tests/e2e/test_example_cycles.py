"""Delete the examples, and apply them again."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.eventually import eventually
from tests.e2e.examples import ROLE, Example
from tests.e2e.stage import Stage

CYCLES = 3
PROJECTS = ("acme-flows", "acme-shop", "acme-ledger")


def state_of(stage: Stage) -> dict[str, Any]:
    """Return the policies, live accounts and the custom role of the examples' projects in Google Cloud."""
    return {
        "policies": {
            name: {role: sorted(members) for role, members in stage.cloud.policy(name).items()}
            for name in stage.cloud.policies()
            if name.split("/")[1] in PROJECTS and stage.cloud.policy(name)
        },
        "accounts": {project: sorted(stage.cloud.accounts(project)) for project in PROJECTS},
        "role": (stage.cloud.role(ROLE) or {}).get("includedPermissions"),
    }


@pytest.mark.slow
def test_examples_can_be_deleted_and_applied_again_and_again(
    stage: Stage, example: Callable[[str], Example]
) -> None:
    examples = checkout, prefect, least_privilege = tuple(
        map(example, ("checkout", "prefect", "prefect-least-privilege"))
    )
    applied, deleted = [], []
    for _ in range(CYCLES):
        checkout.apply()
        prefect.apply()
        checkout.ready()
        prefect.ready()
        least_privilege.apply()
        least_privilege.ready()
        applied.append(state_of(stage))
        for each in examples:
            each.delete()
        for each in examples:
            each.deleted()
        deleted.append(state_of(stage))
    for states in (applied, deleted):
        for state in states[1:]:
            assert state == states[0]
    assert deleted[0]["accounts"] == {
        "acme-flows": ["payroll"],
        "acme-shop": ["checkout"],
        "acme-ledger": ["ledger-writer"],
    }, "their workloads run as them"
    writer = "projects/acme-ledger/serviceAccounts/ledger-writer@acme-ledger.iam.gserviceaccount.com"
    assert deleted[0]["policies"][writer] == applied[0]["policies"][writer], "Cloud Run needs the grant"


def test_checkout_example_can_be_pruned_in_reverse_waves(
    stage: Stage, example: Callable[[str], Example]
) -> None:
    checkout = example("checkout")
    checkout.apply()
    checkout.ready()
    pool = "projects/acme-shop/locations/europe-west1/workerPools/checkout-bookings"
    for kind in ("IAMBinding", "IdentityAttachment"):
        checkout.delete(kind)
        checkout.deleted(kind)

    checkout.delete("CloudRunIdentity")
    checkout.delete("ManagedProject")
    in_use = eventually(
        lambda: checkout.message("CloudRunIdentity", "ledger-writer", "payments"),
        lambda message: "workloads run as it" in message,
    )
    assert "WorkerPool europe-west1/checkout-bookings of project acme-shop" in in_use
    assert "ledger-writer" in stage.cloud.accounts("acme-ledger")
    checkout.patch_all("CloudRunIdentity", {"spec": {"abandonInUseAfter": "1s"}})
    checkout.deleted("CloudRunIdentity", "ManagedProject")
    assert stage.cloud.runs_as(pool) == "ledger-writer@acme-ledger.iam.gserviceaccount.com"
    assert "ledger-writer" in stage.cloud.accounts("acme-ledger")

    checkout.apply()
    checkout.ready()
