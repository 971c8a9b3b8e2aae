"""Emulator of the Google Cloud APIs that the operator uses, over gRPC and REST, with all state in memory."""

from .emulator import Emulator, PortTakenError
from .latency import Latency
from .seed import Seed, SeedError
from .seed_file import load_seed
from .switches import Switches

__all__ = ["Emulator", "Latency", "PortTakenError", "Seed", "SeedError", "Switches", "load_seed"]
