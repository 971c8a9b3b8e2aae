"""Recordings of the real Google Cloud, played again to the emulator.

`python -m playground.tests.emulator.replay FILE…` says where the emulator answers otherwise than Google did.
"""

from .player import replay
from .recordings import RecordingError

__all__ = ["RecordingError", "replay"]
