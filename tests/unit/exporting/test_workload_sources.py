"""Sources of the workloads that suggestions are made for."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.exporting.workload_sources import Found
from cloudrun_identity.gcp.workloads import Workload
from tests.unit.gcp.workload_states import settled

EMAIL = "fn@shop-1234.iam.gserviceaccount.com"
STATE = settled(Workload(WorkloadKind.SERVICE, "shop-1234", "europe-west1", "fn"), "")


@pytest.mark.parametrize(
    ("account", "product", "is_added"),
    [("", "cloudfunctions", False), (EMAIL, "cloudfunctions", True), ("", "", True)],
)
def test_function_of_the_default_account_is_left_out(account: str, product: str, is_added: bool) -> None:
    """Cloud Functions would revert the account that an attachment sets."""
    found = Found()
    found.add(replace(STATE, service_account=account, managed_by=product))
    assert bool(found.states) == is_added
    assert [str(each).partition("; ")[2] for each in found.left_out] == (
        [] if is_added else ["set its account there"]
    )
