"""Log sinks of a project, which export its audit log to a topic: read over REST, for checks only.

https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks
"""

from dataclasses import dataclass
from typing import Final

from .clients import GoogleClients
from .ratelimit import Api
from .rest import RestRequest

DESTINATION: Final = "pubsub.googleapis.com/"
"""Start of the destination of a sink that exports to a topic; the name of the topic follows."""

_METHOD: Final = "google.logging.v2.ConfigServiceV2/ListSinks"


@dataclass(frozen=True, slots=True)
class LogSink:
    """A sink of a project."""

    name: str
    """Short name."""
    destination: str
    """Resource to which the sink exports entries, such as `pubsub.googleapis.com/projects/P/topics/T`."""
    is_disabled: bool
    """True if the sink exports nothing."""

    @property
    def topic(self) -> str:
        """Name of the topic, `projects/P/topics/T`; empty for another destination."""
        return self.destination.removeprefix(DESTINATION) if self.destination.startswith(DESTINATION) else ""


async def log_sinks(clients: GoogleClients, project_id: str) -> tuple[LogSink, ...]:
    """Return the sinks of a project, without those of its folders and organization. Raises GoogleError.

    It needs `logging.sinks.list` on the project.
    """
    sinks: list[LogSink] = []
    token = ""
    while True:
        request = RestRequest(
            f"/v2/projects/{project_id}/sinks",
            f"projects/{project_id}",
            {"pageSize": "1000"} | ({"pageToken": token} if token else {}),
        )
        reply = await clients.call(
            Api.LOGGING, _METHOD, clients.rest(Api.LOGGING), request, project_id=project_id
        )
        sinks += [
            LogSink(each.get("name", ""), each.get("destination", ""), each.get("disabled", False))
            for each in reply.get("sinks", ())
        ]
        token = reply.get("nextPageToken", "")
        if not token:
            return tuple(sinks)
