"""The health check of the image asks the operator of its container."""

import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cloudrun_identity import healthcheck


class Health(BaseHTTPRequestHandler):
    """Answers `/healthz` with the status of the server."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Operator)
        self.send_response(self.server.status if self.path == "/healthz" else HTTPStatus.NOT_FOUND)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing."""


class Operator(HTTPServer):
    """A process with a health endpoint."""

    status = HTTPStatus.OK


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    with Operator(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(healthcheck.PORT_VARIABLE, str(server.server_port))
        yield server
        server.shutdown()
        thread.join()


def test_health_check_passes_while_the_operator_is_healthy(operator: Operator) -> None:
    healthcheck.main()


def test_health_check_does_not_use_the_proxy_of_the_operator(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod behind a proxy has `HTTP_PROXY`, often without `NO_PROXY` for its own address."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # an opener of another test knows no proxy
    healthcheck.main()


def test_health_check_fails_with_the_status_of_an_unhealthy_operator(operator: Operator) -> None:
    operator.status = HTTPStatus.SERVICE_UNAVAILABLE
    with pytest.raises(SystemExit, match=r"/healthz: HTTP Error 503"):
        healthcheck.main()


def test_health_check_fails_if_nothing_listens(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(healthcheck.PORT_VARIABLE, "1")
    with pytest.raises(SystemExit, match=r"^http://127\.0\.0\.1:1/healthz: .*refused"):
        healthcheck.main()
