"""The token endpoint of OAuth 2.0, and the certificates to verify signatures."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from cloudrun_identity_playground.emulator.apis.assertions import RejectedAssertionError
from cloudrun_identity_playground.emulator.apis.keys import GOOGLE_TOKEN_URI
from cloudrun_identity_playground.emulator.cloud import Cloud

TOKEN_PATH = "/token"  # noqa: S105 - a path
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_HOUR = 3600


def add_oauth(app: web.Application, cloud: Cloud) -> None:
    """Serve the token endpoint and the certificates in `app`. These requests do not count as calls."""
    _add_token_endpoint(app, cloud)
    _add_certificates(app, cloud)


def _add_token_endpoint(app: web.Application, cloud: Cloud) -> None:
    async def sign_in(request: web.Request) -> web.Response:
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        if form.get("grant_type") != _JWT_BEARER:
            kind = form.get("grant_type", "")
            return _refused("unsupported_grant_type", f"Invalid grant_type: {kind}")
        try:
            return web.json_response(granted(form.get("assertion", ""), str(request.url)))
        except RejectedAssertionError as error:
            return _refused("invalid_grant", str(error))

    def granted(assertion: str, url: str) -> Mapping[str, object]:
        account, jwt = cloud.assertions.signer(assertion, audiences=(GOOGLE_TOKEN_URI, url))
        if jwt.claims.get("sub", account.email) != account.email:
            raise RejectedAssertionError("Domain-wide delegation is not served.")
        if audience := jwt.claims.get("target_audience"):
            return {"id_token": cloud.id_tokens.issue(account, str(audience))}
        if not jwt.claims.get("scope"):
            raise RejectedAssertionError("Missing required parameter: scope")
        token = cloud.callers.mint(f"serviceAccount:{account.email}", _HOUR)
        return {"access_token": token, "expires_in": _HOUR - 1, "token_type": "Bearer"}

    app.router.add_post(TOKEN_PATH, sign_in)


def _add_certificates(app: web.Application, cloud: Cloud) -> None:
    async def certificates(request: web.Request) -> web.Response:
        account = cloud.accounts.live(request.match_info["email"])
        if account is None:
            return web.json_response({"error": "Not found"}, status=404)
        held = account.google_key(cloud.clock())
        certificates = {name: key.public_key_data for name, key in account.keys.items()}
        certificates[held.id] = held.certificate.pem
        return web.json_response({name: pem.decode() for name, pem in certificates.items()})

    async def google_certificates(_: web.Request) -> web.Response:
        key = cloud.id_tokens.key
        return web.json_response({key.id: key.certificate.pem.decode()})

    app.router.add_get("/service_accounts/v1/metadata/x509/{email}", certificates)
    app.router.add_get("/oauth2/v1/certs", google_certificates)


def _refused(error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=400)
