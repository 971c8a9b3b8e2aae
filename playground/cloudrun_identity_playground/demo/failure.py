"""The error that ends a demo early."""


class DemoError(Exception):
    """The demo cannot continue; the message is one line for the user.

    `evidence` has more lines: the last log line of each part.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.evidence: tuple[str, ...] = ()
