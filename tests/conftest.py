"""What all tests share: the head of the report says which API servers they run on."""

import pytest

from tests.servers.kube_apis import described


def pytest_report_header(config: pytest.Config) -> str:
    return described()
