"""Why a demo ends before its end."""


class DemoError(Exception):
    """The demo cannot go on; the message is one line for the user.

    `evidence` is what else is known, a line each: what the parts wrote last.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.evidence: tuple[str, ...] = ()
