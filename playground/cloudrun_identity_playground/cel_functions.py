"""Declarations of functions for CEL environments."""

from collections.abc import Callable, Sequence
from typing import Any

from cel_expr_python.cel import FunctionDecl, Overload, Type


def method(
    name: str, implementation: Callable[..., Any], returns: Type, *signatures: Sequence[Type]
) -> FunctionDecl:
    """Declare a method with one overload per signature. The first type of each is that of the object."""
    overloads = [
        Overload(f"{name}_{number}", returns, parameters, is_member=True, impl=implementation)
        for number, parameters in enumerate(signatures)
    ]
    return FunctionDecl(name, overloads)
