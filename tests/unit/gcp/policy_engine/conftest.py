"""The scene of one lane; a module with a larger one has fixtures of its own."""

import pytest

from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from tests.unit.gcp.fakes import Scene

from .one_lane import TARGET


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.policies.create(TARGET)
    return scene


@pytest.fixture
def lanes(scene: Scene) -> Lanes:
    return Lanes(scene.ports)
