"""The control API: what was called, what there is, and changes behind the operator's back."""

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
from .snapshot import snapshot
from .switches import PrincipalName, StrictModel

_Body = Mapping[str, Any]


def add_control(app: web.Application, cloud: Cloud, calls: Calls, faults: Faults) -> None:
    """Serve `/control/…` in `app`. Nothing here counts as a call."""

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

    async def turn_switches(body: _Body) -> None:
        cloud.switches.turn(body)

    async def mint_token(body: _Body) -> _Body:
        wanted = _TokenRequest.model_validate(body)
        return {"token": cloud.callers.mint(wanted.principal, wanted.seconds)}

    app.router.add_get("/control/calls", show_calls)
    app.router.add_delete("/control/calls", reset_calls)
    app.router.add_get("/control/log", show_log)
    app.router.add_get("/control/state", show_state)
    app.router.add_post("/control/edit", _taking_json(make_edit))
    app.router.add_get("/control/switches", show_switches)
    app.router.add_patch("/control/switches", _taking_json(turn_switches))
    app.router.add_post("/control/tokens", _taking_json(mint_token))
    _add_faults(app, faults)


def _add_faults(app: web.Application, faults: Faults) -> None:
    async def add_fault(body: _Body) -> None:
        faults.add(Fault.model_validate(body))

    async def clear_faults(_: web.Request) -> web.Response:
        faults.clear()
        return web.json_response({})

    app.router.add_post("/control/faults", _taking_json(add_fault))
    app.router.add_delete("/control/faults", clear_faults)


def _taking_json(
    handle: Callable[[_Body], Awaitable[_Body | None]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler of JSON objects that answers bad ones with 400 and one line of why."""

    async def answer(request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.text())
            if not isinstance(body, dict):
                return _refused("the body is no JSON object")
            answered = await handle(body)
        except ValidationError as error:
            problem = error.errors()[0]
            return _refused(f"{'.'.join(map(str, problem['loc'])) or 'the body'}: {problem['msg']}")
        except EditError as error:
            return _refused(str(error))
        except ValueError as error:
            return _refused(f"the body is no JSON: {error}")
        return web.json_response(answered or {})

    return answer


def _refused(why: str) -> web.Response:
    return web.json_response({"error": why}, status=400)


class _TokenRequest(StrictModel):
    """A token of a principal that is good for so many seconds."""

    principal: PrincipalName
    seconds: float = Field(default=3600.0, gt=0)
