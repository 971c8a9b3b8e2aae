"""Apply the examples of the repository, and check Ready objects and exact grants."""

from collections.abc import Callable

from tests.e2e.examples import ROLE, Example
from tests.e2e.stage import Stage


def test_prefect_examples_grant_exactly_the_documented_roles(
    stage: Stage, example: Callable[[str], Example]
) -> None:
    prefect, least_privilege = example("prefect"), example("prefect-least-privilege")
    prefect.apply()
    prefect.ready()

    email = "prefect-runner@acme-flows.iam.gserviceaccount.com"
    account = stage.cloud.accounts("acme-flows")["prefect-runner"]
    assert account["displayName"] == "Prefect flow runner"
    assert stage.cloud.policy("projects/acme-flows") == {
        "roles/owner": ["user:dana@example.com"],
        "roles/run.serviceAgent": [
            "serviceAccount:service-310552417096@serverless-robot-prod.iam.gserviceaccount.com"
        ],
        "roles/run.admin": [f"serviceAccount:{email}"],
        "roles/iam.serviceAccountUser": [f"serviceAccount:{email}"],
    }
    status = prefect.status("CloudRunIdentity", "prefect-runner", "flows")
    assert status["email"] == email
    assert status["uniqueID"] == account["uniqueId"]
    assert status["origin"] == "Created"
    assert status["grantCounts"]["granted"] == 2
    assert prefect.status("ManagedProject", "flows", "")["projectNumber"] == "310552417096"

    least_privilege.apply()
    least_privilege.ready()

    runner, flows = (
        f"serviceAccount:{account}@acme-flows.iam.gserviceaccount.com"
        for account in ("prefect-runner", "prefect-flows")
    )
    made = stage.cloud.role(ROLE)
    assert made is not None
    assert made["includedPermissions"] == [
        f"run.jobs.{verb}" for verb in ("create", "delete", "run", "update")
    ]
    policy = stage.cloud.policy("projects/acme-flows")
    assert policy.keys() == {"roles/owner", "roles/run.serviceAgent", ROLE}
    assert policy[ROLE] == [runner]
    account = f"projects/acme-flows/serviceAccounts/{flows.removeprefix('serviceAccount:')}"
    assert stage.cloud.policy(account) == {"roles/iam.serviceAccountUser": [runner]}


def test_checkout_example_attaches_identities_and_admits_callers(
    stage: Stage, example: Callable[[str], Example]
) -> None:
    checkout = example("checkout")
    checkout.apply()
    checkout.ready()
    assert {"Ready"} <= checkout.events() <= {"Ready", "DependencyNotReady"}
    assert checkout.events({"Warning"}) == set()

    cloud = stage.cloud
    shop = "projects/acme-shop/locations/europe-west1"
    ledger_writer = "ledger-writer@acme-ledger.iam.gserviceaccount.com"
    assert cloud.runs_as(f"{shop}/services/checkout") == "checkout@acme-shop.iam.gserviceaccount.com"
    assert cloud.runs_as(f"{shop}/jobs/checkout-settlement") == "checkout@acme-shop.iam.gserviceaccount.com"
    assert cloud.runs_as(f"{shop}/workerPools/checkout-bookings") == ledger_writer
    invokers = cloud.policy(f"{shop}/services/checkout")["roles/run.invoker"]
    assert invokers[0] == "group:checkout-testers@example.com"
    assert sorted(invokers[1:]) == ["group:storefront@example.com", f"serviceAccount:{ledger_writer}"]
    assert cloud.policy(f"projects/acme-ledger/serviceAccounts/{ledger_writer}") == {
        "roles/iam.serviceAccountTokenCreator": [
            "serviceAccount:service-417203958816@serverless-robot-prod.iam.gserviceaccount.com"
        ]
    }
    assert cloud.policy("projects/acme-shop/serviceAccounts/checkout@acme-shop.iam.gserviceaccount.com") == {
        "roles/iam.serviceAccountUser": ["group:checkout-deployers@example.com"]
    }
    assert cloud.policy("projects/acme-ledger")["roles/cloudsql.client"] == [
        "group:ledger-operators@example.com",
        f"serviceAccount:{ledger_writer}",
    ]
    attached = checkout.status("IdentityAttachment", "checkout", "payments")
    assert attached["workload"] == "Service europe-west1/checkout"
    assert attached["currentServiceAccount"] == "checkout@acme-shop.iam.gserviceaccount.com"
