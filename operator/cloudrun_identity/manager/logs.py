"""Structured logging: each record is one line of JSON or text on stderr, without tracebacks."""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

MAX_TEXT = 500
"""Maximum length of an exception's message in a log line."""

PRODUCT = "cloudrun_identity"
"""The root logger of the operator. Only its records may have extra fields in the log."""

LIBRARY_LEVELS: Mapping[str, int] = {
    "aiohttp": logging.WARNING,
    "asyncio": logging.WARNING,
    "kubernetes": logging.WARNING,
    "google": logging.WARNING,
    "urllib3": logging.WARNING,
}
"""The least severe level of libraries that otherwise log every event and every request."""


class LogFormat(StrEnum):
    """Formats of a log line."""

    JSON = "json"
    TEXT = "text"


def configure(
    level: int = logging.INFO,
    stream: TextIO | None = None,
    *,
    log_format: LogFormat = LogFormat.JSON,
    library_levels: Mapping[str, int] = LIBRARY_LEVELS,
) -> None:
    """Send the records of every logger to `stream` (default: stderr), from `level` on.

    The operator's `extra=` arguments become fields beside `time`, `level`, `logger` and `message`. At DEBUG,
    `library_levels` does not apply, and a record with an exception has a `traceback` field.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = JsonFormatter if log_format is LogFormat.JSON else TextFormatter
    handler.setFormatter(formatter(tracebacks=level <= logging.DEBUG))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name, least in library_levels.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level <= logging.DEBUG else max(level, least))
    logging.captureWarnings(True)


class _LineFormatter(logging.Formatter):
    """Base of the formatters, which write the same fields."""

    def __init__(self, *, tracebacks: bool = False) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the fields in a fixed order: common fields, extra fields, error."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.name.partition(".")[0] == PRODUCT:
            # Extra attributes of libraries are internal: kopf's contain all its settings.
            fields |= {name: value for name, value in vars(record).items() if name not in _RESERVED}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = describe(record.exc_info[1])
            if self._tracebacks:
                fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return fields


class JsonFormatter(_LineFormatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the fields as one object."""
        return _as_json(self.fields(record))


class TextFormatter(_LineFormatter):
    """Formats a record as one line of text: `TIME LEVEL LOGGER: MESSAGE name=value`.

    A traceback follows in further lines.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the common fields, then the other fields with their names."""
        time, level, logger, message, *others = self.fields(record).items()
        line = f"{time[1]} {level[1]} {logger[1]}: {' '.join(message[1].split())}"
        named = [f"{name}={_as_json(value)}" for name, value in others if name != "traceback"]
        return "\n".join([" ".join([line, *named]), *(text for name, text in others if name == "traceback")])


def _as_json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def describe(error: BaseException) -> str:
    """Describe an unexpected exception in one line, such as `KeyError: 'email' (service_accounts.py:81)`.

    The line holds the type, the shortened message, and the innermost line of the operator's code, or of any
    code if no frame is the operator's. An exception group is described by its first exception.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    message = _shortened(" ".join(str(error).split()))
    name = type(error).__name__
    return f"{name}: {message}{_place(error)}" if message else f"{name}{_place(error)}"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if PRODUCT in Path(frame.filename).parts]
    innermost = (own or frames)[-1:]
    return "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in innermost)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


_RESERVED = vars(logging.makeLogRecord({})).keys() | {
    "message",
    "asctime",
    "taskName",
    "time",
    "level",
    "logger",
}
"""Names that extra fields cannot have: attributes of every record, and the common fields of a line."""
