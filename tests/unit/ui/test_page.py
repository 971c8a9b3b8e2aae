"""The page of the whole cluster, from its objects."""

import json
from datetime import timedelta
from typing import Any

import pytest

from cloudrun_identity.overview.cluster import Cluster
from cloudrun_identity.overview.cluster_objects import Parser, read_objects
from cloudrun_identity.ui.page import Page, page_of
from cloudrun_identity.ui.payload import encoded
from tools.sample_cluster import SampleCluster
from tools.sample_objects import NOW, ago, drift, email, event, grant, identity


async def cluster_of(sample: SampleCluster) -> Cluster:
    return Cluster(await read_objects(sample, "", Parser()), NOW)


async def page(sample: SampleCluster) -> Page:
    return page_of(await cluster_of(sample), sample.server)


async def test_projects_count_their_identities_and_problems() -> None:
    cards = {card.name: card for card in (await page(SampleCluster.acme())).projects}
    assert [card.identities for card in cards.values()] == [2, 2, 3]
    assert cards["acme-data"].needs_attention == 2
    assert cards["acme-data"].reason == "MissingPermissions"
    assert cards["acme-data"].orphans == 1
    assert cards["acme-flows"].on_default_identity == 1


async def test_projects_show_their_change_feed_if_they_have_one() -> None:
    cards = {card.name: card for card in (await page(SampleCluster.acme())).projects}
    feed = cards["acme-payments"].change_feed
    assert feed is not None
    assert (feed.status, feed.reason, feed.good) == ("True", "Receiving", True)
    assert cards["acme-data"].change_feed is None


@pytest.mark.parametrize(
    ("key", "risks"),
    [
        ("web/storefront", ["Public"]),
        ("platform/project-factory", ["Owner", "Tokens"]),
        ("payments/ledger-export", ["Keys"]),
        ("payments/checkout", ["Tokens"]),
        ("data/reports", []),
    ],
)
async def test_identity_shows_its_risks(key: str, risks: list[str]) -> None:
    rows = {row.key: row for row in (await page(SampleCluster.acme())).identities}
    assert list(rows[key].risks) == risks


async def test_urgent_and_risky_identities_come_first() -> None:
    keys = [row.key for row in (await page(SampleCluster.acme(30))).identities]
    assert keys[:5] == [
        "web/storefront",
        "data/reports",
        "flows/flow-runner",
        "platform/project-factory",
        "payments/ledger-export",
    ]


async def test_unmanaged_key_is_a_risk() -> None:
    row = (await page(SampleCluster([identity("a", "web", "p", unmanagedKeys=[{"id": "k1"}])]))).identities[0]
    assert row.risks == ("Keys",)


async def test_rejected_grant_is_no_risk() -> None:
    account = email("web", "project-1")
    refused = grant("roles/iam.serviceAccountTokenCreator", "user:a@b.example", f"ServiceAccount {account}")
    sample = SampleCluster([identity("a", "web", "project-1", grants=[refused | {"state": "Rejected"}])])
    assert (await page(sample)).identities[0].risks == ()


async def test_public_user_of_an_account_is_a_public_risk() -> None:
    public = identity("a", "web", "p", users=[("roles/iam.serviceAccountTokenCreator", "allUsers")])
    assert (await page(SampleCluster([public]))).identities[0].risks == ("Public",)


async def test_attention_names_the_object_the_remedy_and_the_identity() -> None:
    concern = next(each for each in (await page(SampleCluster.acme())).attention if each.namespace == "web")
    assert (concern.kind, concern.name, concern.reason) == (
        "IdentityAttachment",
        "storefront",
        "RevisionFailed",
    )
    assert "roles/secretmanager.secretAccessor on Secret session-key" in concern.message
    assert concern.next_command == "kubectl describe identityattachment storefront --namespace web"
    assert concern.identities == ("web/storefront",)


async def test_drift_shows_the_repair_and_earlier_events() -> None:
    sample = SampleCluster.acme()
    moved = sample.find("IdentityAttachment", "payments", "checkout")
    sample.events.append(event(moved, "DriftDetected", "one; two", ago(minutes=40), warning=True))
    rows = (await page(sample)).drift
    assert [(row.name, row.is_latest, len(row.changes)) for row in rows] == [
        ("checkout", True, 1),
        ("checkout", False, 2),
        ("warehouse-viewers", True, 1),
    ]
    assert rows[0].repaired is not None
    assert rows[0].repaired - rows[0].detected == timedelta(seconds=3)
    assert rows[0].identities == ("payments/checkout",)
    assert [cause.principal for cause in rows[0].causes] == ["user:dana@acme.example"]
    assert (rows[1].causes, rows[2].causes) == ((), ())


async def test_drift_that_returned_after_its_repair_counts_as_open() -> None:
    again = drift(2, "grant removed", detected=ago(minutes=1), repaired=ago(minutes=9))
    assert (await page(SampleCluster([identity("a", "web", "p", drift=again)]))).drift[0].repaired is None


async def test_invalid_object_needs_attention_and_hides_nothing_else() -> None:
    sample = SampleCluster.acme()
    broken: dict[str, Any] = identity("a", "broken", "p")
    sample.put(broken | {"spec": {"projectRef": {"name": "p"}, "disabled": "perhaps"}})
    shown = await page(sample)
    assert "InvalidSpec" in {each.reason for each in shown.attention}
    assert len(shown.identities) == 7


async def test_annotations_and_unknown_fields_are_not_sent() -> None:
    sample = SampleCluster.acme()
    checkout = sample.find("CloudRunIdentity", "payments", "checkout")
    secret = {
        "kubectl.kubernetes.io/last-applied-configuration": "token-1",
        "team.example/password": "token-2",
    }
    sample.put(checkout | {"metadata": checkout["metadata"] | {"annotations": secret}, "data": "token-3"})
    assert b"token-" not in encoded(await page(sample))


async def test_payload_uses_camel_case_and_utc_times() -> None:
    sent = json.loads(encoded(await page(SampleCluster.acme())))
    assert sent["projects"][0]["projectId"] == "acme-data"
    assert all(row["detected"].endswith("Z") for row in sent["drift"])
