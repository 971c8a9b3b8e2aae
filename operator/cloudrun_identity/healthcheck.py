"""Health check of the container image: exit with 0 if the operator of this container answers `/healthz`.

A module, not a command, because it runs twice a minute: it imports neither click nor the clients. A container
engine runs it with the environment of the operator, where the variable of `--http-port` may be set.
"""

import os
import sys
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

PORT_VARIABLE = "CLOUDRUN_IDENTITY_RUN_HTTP_PORT"
"""Environment variable that sets `run --http-port`."""

DEFAULT_PORT = "8080"

TIMEOUT = 5
"""Seconds to wait for the reply, shorter than the timeout in the Dockerfile."""


def main() -> None:
    """Exit with 1 and one line if the operator does not answer, or reports that it makes no progress."""
    url = f"http://127.0.0.1:{os.environ.get(PORT_VARIABLE, DEFAULT_PORT)}/healthz"
    direct = build_opener(ProxyHandler({}))  # the proxy of the operator does not reach this container
    try:
        direct.open(url, timeout=TIMEOUT).close()
    except (URLError, OSError) as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
