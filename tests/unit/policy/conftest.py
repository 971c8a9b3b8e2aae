"""The scene of one lane; a module with a larger one has fixtures of its own."""

import pytest

from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fakes import Scene

from .one_syncer import TARGET


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.policies.create(TARGET)
    return scene


@pytest.fixture
def syncers(scene: Scene) -> PolicySyncers:
    return PolicySyncers(scene.ports)
