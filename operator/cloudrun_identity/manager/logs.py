"""The log: one line of JSON a record on stderr, no tracebacks."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

MAX_TEXT = 500
"""Characters of an exception's message that are worth a line."""

OURS = "cloudrun_identity"
"""The root of our loggers; only their records have fields of their own in the log."""

# Libraries that speak of every event and every request, and the level from which they say something new.
QUIET_BELOW = {
    "kopf": logging.WARNING,
    "kopf._core.reactor.orchestration": logging.CRITICAL,  # what ends a watch is told by ourselves
    "kopf._core.reactor.running": logging.CRITICAL,
    "aiohttp": logging.WARNING,
    "asyncio": logging.WARNING,
    "kubernetes": logging.WARNING,
    "google": logging.WARNING,
    "urllib3": logging.WARNING,
}


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send every logger of the process to `stream` (stderr if not given), from `level` on.

    What our code gives as `extra=` becomes fields beside `time`, `level`, `logger` and `message`. At DEBUG
    the libraries speak as well, and exceptions have their `traceback`, in one field.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(tracebacks=level <= logging.DEBUG))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name, quiet in QUIET_BELOW.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level <= logging.DEBUG else max(level, quiet))
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, *, tracebacks: bool = False) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Give the fields in a fixed order: what every record has, its own, and what went wrong."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.name.partition(".")[0] == OURS:
            # Other libraries' attributes are their own plumbing (kopf's hold all its settings).
            fields |= {name: value for name, value in vars(record).items() if name not in _RESERVED}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = describe(record.exc_info[1])
            if self._tracebacks:
                fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(fields, default=str, ensure_ascii=False)


def describe(error: BaseException) -> str:
    """Say in one line what an unexpected exception is and where it happened.

    `KeyError: 'email' (service_accounts.py:81)`: the type, the message bounded, the innermost line of our own
    code, or of anybody's if none of ours took part. Of a group the first one is told.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    message = _bounded(" ".join(str(error).split()))
    name = type(error).__name__
    return f"{name}: {message}{_place(error)}" if message else f"{name}{_place(error)}"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if OURS in Path(frame.filename).parts]
    innermost = (ours or frames)[-1:]
    return "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in innermost)


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


# What every record has, by Python's name or by ours.
_RESERVED = vars(logging.makeLogRecord({})).keys() | {
    "message",
    "asctime",
    "taskName",
    "time",
    "level",
    "logger",
}
