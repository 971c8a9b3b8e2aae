import pytest

from cloudrun_identity.ledger.store import Ledgers
from tests.unit.kube.fake_api import FakeApi

from .stored_ledgers import NAMESPACE


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def ledgers(api: FakeApi) -> Ledgers:
    return Ledgers(api, NAMESPACE)
