"""The author of an edit through the control API, as the audit log names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .apis.actor import OTHER_USER, Caller
from .sender import Sender
from .switches import PrincipalName, StrictModel


class Author(StrictModel):
    """Author of an edit, and their client. An author may do everything."""

    caller: PrincipalName = OTHER_USER.principal
    user_agent: str = ""
    caller_ip: str = ""

    @classmethod
    def of(cls, change: Mapping[str, Any]) -> tuple[Author, Mapping[str, Any]]:
        """Return the author in an edit, and the edit without it.

        Raises pydantic.ValidationError: the author is not valid.
        """
        fields = {"caller", "userAgent", "callerIp"}
        author = cls.model_validate({name: change[name] for name in fields & change.keys()})
        return author, {name: value for name, value in change.items() if name not in fields}

    @property
    def principal(self) -> Caller:
        """The caller of the edit."""
        return Caller(self.caller, is_admin=True)

    @property
    def sender(self) -> Sender:
        """Client of the author, for the audit log."""
        return Sender(user_agent=self.user_agent, address=self.caller_ip)
