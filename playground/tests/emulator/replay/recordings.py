"""Parser of recordings, in two formats of GoogleCloudPlatform/k8s-config-connector.

`*.http.log` has requests and responses as text, separated by `---`, with `${placeholders}` for names.
`*.vcr.yaml` is a cassette of go-vcr.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

PROJECT, PROJECT_NUMBER = "recorded-project", "123456789012"
"""Values of the placeholders of the project in which Config Connector records."""

_KNOWN = {
    "projectId": PROJECT,
    "projectNumber": PROJECT_NUMBER,
    "organizationID": "998877665544",
    "uniqueId": "recorded1",
    "operationID": "recorded-operation",
}
_FIRST_NUMBER = 700000000001  # of a folder or an organization
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_REQUEST = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (\S+)")
_STATUS = re.compile(r"(\d{3}) .*")


class RecordingError(Exception):
    """A file that is not a recording; one line with its name."""


@dataclass(frozen=True)
class Exchange:
    """One request and Google's response. A body that was not recorded is None; `place` is its position."""

    place: str
    verb: str
    host: str
    path: str
    query: Sequence[tuple[str, str]]
    sent: Any
    status: int
    answer: Any


def read(file: Path) -> Sequence[Exchange]:
    """Return the exchanges of a file in order.

    Raises RecordingError: The file cannot be read, or has neither format.
    """
    try:
        text = file.read_text(encoding="utf-8")
        exchanges = list(_vcr(file, text) if file.name.endswith(".yaml") else _log(file, text))
    except OSError as error:
        raise RecordingError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise RecordingError(f"{file}: is no recording: {' '.join(str(error).split())}") from error
    if not exchanges:
        raise RecordingError(f"{file}: holds no exchanges")
    return exchanges


def _log(file: Path, text: str) -> Iterator[Exchange]:
    line = 1
    named = _named(text)
    for part in text.split("\n---\n"):
        place = f"{file.name}:{line + len(part) - len(part.lstrip())}"
        line += part.count("\n") + 2
        content = _PLACEHOLDER.sub(lambda match: named[match[1]], part.strip())
        if content and (exchange := _exchange_of_log(place, content)) is not None:
            yield exchange


def _exchange_of_log(place: str, content: str) -> Exchange | None:
    """Return an exchange; None if it is of gRPC, or the request has no recorded response."""
    lines = content.split("\n")
    if lines[0].startswith("GRPC /"):
        return None
    request = _REQUEST.fullmatch(lines[0])
    answered = next((number for number, each in enumerate(lines) if _STATUS.fullmatch(each)), None)
    if request is None:
        raise ValueError(f"no request at {place}")
    if answered is None:
        return None
    status = _STATUS.fullmatch(lines[answered])
    assert status is not None
    sent = _after_headers(lines[1:answered])
    return _exchange(
        place, request[1], request[2], sent, int(status[1]), _after_headers(lines[answered + 1 :])
    )


def _after_headers(lines: Sequence[str]) -> str:
    return "\n".join(lines).partition("\n\n")[2]


def _vcr(file: Path, text: str) -> Iterator[Exchange]:
    for interaction in yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["interactions"]:
        request, response = interaction["request"], interaction["response"]
        yield _exchange(
            f"{file.name}#{interaction['id']}",
            request["method"],
            request["url"],
            request["body"],
            response["code"],
            response["body"],
        )


def _exchange(place: str, verb: str, url: str, sent: str, status: int, answer: str) -> Exchange:
    parts = urlsplit(url)
    return Exchange(
        place,
        verb,
        parts.netloc,
        parts.path,
        parse_qsl(parts.query),
        json.loads(sent) if sent.strip() else None,
        status,
        _answer(answer),
    )


def _answer(text: str) -> Any:
    """Return the JSON of a response, or None if the recording has another text instead."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _named(text: str) -> Mapping[str, str]:
    """Return a value for each placeholder of a text.

    If a URL has a placeholder and the bodies the name, the value is the name.
    """
    names = {name: _KNOWN.get(name, f"recorded-{name.lower()}") for name in _PLACEHOLDER.findall(text)}
    numbered = dict.fromkeys(re.findall(r"(?:folders|organizations)/\$\{(\w+)\}", text))
    names |= {name: str(_FIRST_NUMBER + place) for place, name in enumerate(numbered) if name not in _KNOWN}
    for collection, name in re.findall(r"/(\w+)/\$\{(\w+)\}[?:\s\"]", text):
        shown = re.search(rf"/{collection}/((?!\$\{{{name}\}})[^/\s\"?:]+\$\{{\w+\}})\"", text)
        if name not in _KNOWN and shown is not None:
            names[name] = _PLACEHOLDER.sub(lambda match: names[match[1]], shown[1])
    return names
