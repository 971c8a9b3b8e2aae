"""The control API: counters of calls, the whole state, and changes by others than the operator."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web
from pydantic import Field, ValidationError

from .calls import Calls
from .cloud import Cloud
from .edits import EditError, edit
from .faults import Fault, Faults
from .log_router.injection import Injection
from .snapshot import snapshot
from .switches import PrincipalName, StrictModel

_Body = Mapping[str, Any]


def add_control(app: web.Application, cloud: Cloud, calls: Calls, faults: Faults) -> None:
    """Serve `/control/…` in `app`. These requests do not count as calls."""

    async def show_calls(_: web.Request) -> web.Response:
        return web.json_response(dict(calls))

    async def reset_calls(_: web.Request) -> web.Response:
        calls.reset()
        return web.json_response({})

    async def show_log(request: web.Request) -> web.Response:
        reason = request.query.get("reason", "")
        return web.json_response([asdict(call) for call in calls.log if call.reason.startswith(reason)])

    async def show_state(request: web.Request) -> web.Response:
        return web.json_response(snapshot(cloud, request.query.get("under", "")))

    async def make_edit(body: _Body) -> None:
        edit(cloud, body)

    async def show_switches(_: web.Request) -> web.Response:
        return web.json_response(cloud.switches.model_dump(mode="json", by_alias=True))

    async def set_switches(body: _Body) -> None:
        cloud.switches.update(body)

    async def mint_token(body: _Body) -> _Body:
        wanted = _TokenRequest.model_validate(body)
        return {"token": cloud.callers.mint(wanted.principal, wanted.seconds)}

    app.router.add_get("/control/calls", show_calls)
    app.router.add_delete("/control/calls", reset_calls)
    app.router.add_get("/control/log", show_log)
    app.router.add_get("/control/state", show_state)
    app.router.add_post("/control/edit", _json_handler(make_edit))
    app.router.add_get("/control/switches", show_switches)
    app.router.add_patch("/control/switches", _json_handler(set_switches))
    app.router.add_post("/control/tokens", _json_handler(mint_token))
    _add_faults(app, faults)
    _add_feed(app, cloud)


def _add_faults(app: web.Application, faults: Faults) -> None:
    async def add_fault(body: _Body) -> None:
        faults.add(Fault.model_validate(body))

    async def clear_faults(_: web.Request) -> web.Response:
        faults.clear()
        return web.json_response({})

    app.router.add_post("/control/faults", _json_handler(add_fault))
    app.router.add_delete("/control/faults", clear_faults)


def _add_feed(app: web.Application, cloud: Cloud) -> None:
    async def show_log_entries(_: web.Request) -> web.Response:
        return web.json_response(list(cloud.audit_log.entries()))

    async def show_feed(_: web.Request) -> web.Response:
        router = cloud.log_router
        shown = {"held": router.held, "refusals": router.refusals, "backlog": cloud.pubsub.backlog()}
        return web.json_response({**router.counts, **shown})

    async def inject(body: _Body) -> None:
        await Injection.model_validate(body).into(cloud.log_router, cloud.clock())

    app.router.add_get("/control/entries", show_log_entries)
    app.router.add_get("/control/feed", show_feed)
    app.router.add_post("/control/feed", _json_handler(inject))


def _json_handler(
    handle: Callable[[_Body], Awaitable[_Body | None]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Wrap a handler of JSON objects: answer invalid ones with 400 and one line with the reason."""

    async def answer(request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.text())
            if not isinstance(body, dict):
                return _refused("the body is not a JSON object")
            answered = await handle(body)
        except ValidationError as error:
            problem = error.errors()[0]
            return _refused(f"{'.'.join(map(str, problem['loc'])) or 'the body'}: {problem['msg']}")
        except EditError as error:
            return _refused(str(error))
        except ValueError as error:
            return _refused(f"the body is not JSON: {error}")
        return web.json_response(answered or {})

    return answer


def _refused(why: str) -> web.Response:
    return web.json_response({"error": why}, status=400)


class _TokenRequest(StrictModel):
    """Request of a token for a principal, valid for some seconds."""

    principal: PrincipalName
    seconds: float = Field(default=3600.0, gt=0)
