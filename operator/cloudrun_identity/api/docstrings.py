"""Docstrings of the models' fields, which become the descriptions in the CRDs.

pydantic can read them (`use_attribute_docstrings`), but does so when it creates a class. That takes a fifth
of a second of processor time at each start of the operator, which does not need them.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise


def field_docstrings(model: type[object]) -> Mapping[str, str]:
    """Return the docstrings of the fields that a model of this package has or inherits, by field."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        package, _, module = base.__module__.rpartition(".")
        if package == __package__:
            found |= _in_module(module).get(base.__name__, {})
    return found


@cache
def _in_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of fields by class, for the classes of a module of this package."""
    tree = ast.parse(files(__package__).joinpath(f"{name}.py").read_text(encoding="utf-8"))
    return {node.name: dict(_in_class(node.body)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _in_class(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield each annotated name with the string below it."""
    for statement, following in pairwise(body):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=field)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield field, inspect.cleandoc(text)
