"""Docstrings of fields, which describe them in the CRDs."""

from cloudrun_identity.api import CloudRunIdentitySpec
from cloudrun_identity.api.docstrings import field_docstrings


def test_docstring_is_that_below_the_field() -> None:
    assert field_docstrings(CloudRunIdentitySpec)["display_name"].endswith(".")


def test_docstring_of_an_inherited_field_is_found() -> None:
    assert "management_policy" in field_docstrings(CloudRunIdentitySpec)
    assert "management_policy" not in CloudRunIdentitySpec.__annotations__


def test_class_of_another_package_has_no_docstrings() -> None:
    class Stranger:
        field: int
        """Not read."""

    assert field_docstrings(Stranger) == {}
