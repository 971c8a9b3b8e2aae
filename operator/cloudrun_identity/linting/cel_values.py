"""Values for cel-expr-python, which ends a string at a null character and refuses surrogates."""

import re
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue


def cel_value(value: Any) -> Any:
    """Return a JSON value in a form of which an expression sees every character.

    A surrogate becomes U+FFFD, as in the API server.
    """
    match value:
        case str():
            text = _without_surrogates(value)
            return StringValue(value=text) if "\0" in text else text
        case dict():
            return {_without_surrogates(name): cel_value(part) for name, part in value.items()}
        case list():
            return [cel_value(part) for part in value]
    return value


def _without_surrogates(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


_SURROGATE = re.compile("[\ud800-\udfff]")
