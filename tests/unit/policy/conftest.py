"""Fixtures with one policy. Modules with several policies override them."""

import pytest

from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fakes import SyncerEnvironment

from .one_policy import TARGET


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment()
    env.policies.create(TARGET)
    return env


@pytest.fixture
def syncers(env: SyncerEnvironment) -> PolicySyncers:
    return PolicySyncers(env.ports)
