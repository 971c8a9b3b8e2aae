import pytest

from tests.unit.kube.fake_api import FakeApi


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()
