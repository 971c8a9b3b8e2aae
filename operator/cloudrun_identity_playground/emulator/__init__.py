"""Google Cloud over gRPC and REST, in memory."""

from .emulator import Emulator, PortTakenError
from .latency import Latency
from .seed import Seed, SeedError, load_seed

__all__ = ["Emulator", "Latency", "PortTakenError", "Seed", "SeedError", "load_seed"]
