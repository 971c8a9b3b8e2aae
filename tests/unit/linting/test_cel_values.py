"""Strings that cel-expr-python would shorten or refuse."""

import pytest
from cel_expr_python.cel import NewEnv, Type

from cloudrun_identity.linting.cel_values import cel_value

ENVIRONMENT = NewEnv(variables={"self": Type.DYN})


@pytest.mark.parametrize(
    ("value", "expression", "result"),
    [
        ("a\0b", "size(self)", 3),
        ("a\0", "self.matches('^[a-z]+$')", False),
        ("a\0", "self == 'a'", False),
        ("a\0", "self.startsWith('a') && !(self in ['a', 'b'])", True),
        ([{"principal": "a\0b"}], "self.all(member, size(member.principal) == 3)", True),
        ({"name": "a\0"}, "has(self.name) ? size(self.name) : 0", 2),
        ("\ud800x", "size(self)", 2),
        ({"\ud800": "x"}, "self['\ufffd']", "x"),
        ("ä", "size(bytes(self))", 2),
        ([1, 2.5, True, None], "self == [1, 2.5, true, null]", True),
    ],
)
def test_expression_sees_every_character(value: object, expression: str, result: object) -> None:
    found = ENVIRONMENT.compile(expression).eval(data={"self": cel_value(value)})
    assert (found.type() != Type.ERROR, found.plain_value()) == (True, result)
