"""Replay of recordings of the real Google Cloud against the emulator.

`python -m playground.tests.emulator.replay FILE…` prints the differences.
"""

from .player import Report, replay
from .recordings import RecordingError

__all__ = ["RecordingError", "Report", "replay"]
