"""The decorator that marks a method as the handler of an RPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Handler = Callable[[Any], Any]
"""Takes the request of an RPC, returns the response, raises `GoogleError`."""

_Method = TypeVar("_Method", bound=Callable[..., Any])
_ATTRIBUTE = "__served_rpc__"


def serves(rpc: str) -> Callable[[_Method], _Method]:
    """Mark a method as the handler of `rpc`, such as `google.iam.admin.v1.IAM/GetServiceAccount`."""

    def mark(method: _Method) -> _Method:
        setattr(method, _ATTRIBUTE, rpc)
        return method

    return mark


def handlers_of(api: object) -> Mapping[str, Handler]:
    """Return the handlers of `api` by RPC."""
    marked = {name: getattr(method, _ATTRIBUTE, None) for name, method in vars(type(api)).items()}
    return {rpc: getattr(api, name) for name, rpc in marked.items() if rpc is not None}
