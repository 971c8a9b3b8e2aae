"""Calls to Google Cloud for many grants on many policies, counted without a clock."""

from collections.abc import Mapping
from itertools import chain

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.ratelimit import Api, CallKind, Rate, RateLimiter
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity_playground.emulator.seed import Seed
from tests.gcp.bench import open_bench

OBJECTS, BUCKETS = 10, 100
NAMES = [f"shop-bucket-{number}" for number in range(BUCKETS)]
SEED = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": "shop",
                "resources": [{"kind": "StorageBucket", "name": name} for name in NAMES],
            }
        ]
    }
)


def unlimited() -> RateLimiter:
    """Return a rate limiter that delays nothing. A rate limit does not change the number of calls."""
    return RateLimiter({(api, kind): Rate(per_minute=1e9, burst=10_000) for api in Api for kind in CallKind})


def desired() -> Mapping[Owner, list[Grant]]:
    """Return ten objects with one grant on each bucket."""
    return {
        Owner("IAMBinding", "shop", f"team-{number}", f"uid-{number}"): [
            Grant(
                Target(TargetKind.STORAGE_BUCKET, "shop", name=name),
                "roles/storage.objectViewer",
                f"user:team-{number}@example.com",
            )
            for name in NAMES
        ]
        for number in range(OBJECTS)
    }


async def test_grants_on_buckets_take_one_read_and_one_write_per_bucket() -> None:
    async with open_bench(SEED, unlimited()) as bench:
        granted = await bench.sync_all(desired())

        assert granted == set(chain.from_iterable(desired().values()))
        service = "google.storage.v2.Storage"
        calls = bench.emulator.calls
        assert calls[f"{service}/GetIamPolicy"] <= BUCKETS
        assert calls[f"{service}/SetIamPolicy"] <= BUCKETS
        assert calls[f"{service}/GetBucket"] <= BUCKETS, "each bucket's project and creation time, once"
        assert sum(calls.values()) <= 3 * BUCKETS + 1, "and the number of the project"


async def test_unchanged_grants_on_buckets_take_no_write() -> None:
    async with open_bench(SEED, unlimited()) as bench:
        await bench.sync_all(desired())
        bench.emulator.calls.reset()
        await bench.sync_all(desired())
        assert bench.emulator.calls["google.storage.v2.Storage/SetIamPolicy"] == 0
