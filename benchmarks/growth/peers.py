"""Costs of other tools, measured once under the stated conditions. `make bench` does not measure them."""

from dataclasses import dataclass

CONDITIONS = (
    "Config Connector 1.155, measured beside the operator at 540ba96: the same emulator with the recorded "
    "latencies of Google Cloud, the same API server and machine, an interval of 60 seconds between looks at "
    "an object. All members are on the policy of one project, without other writers."
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Costs of one tool for members of the policy of one project. The conditions are `CONDITIONS`."""

    tool: str
    """The tool and its objects."""
    members: int
    """The number of members."""
    reads: int
    """Reads of the policy until all are Ready."""
    writes: int
    """Writes of the policy until all are Ready."""
    seconds: float
    """Seconds until all are Ready."""
    idle_calls: float
    """Calls per minute without changes."""

    @property
    def calls(self) -> int:
        """Return the reads and writes of the policy."""
        return self.reads + self.writes


MEASUREMENTS = (
    Measurement("Config Connector, 200 IAMPolicyMembers", 200, 710, 27, 240.0, 326),
    Measurement("Config Connector, one IAMPartialPolicy of 200", 200, 3, 1, 8.0, 1),
)
"""Deleting the 200 IAMPolicyMembers took 588 reads, 40 writes and 266 seconds."""
