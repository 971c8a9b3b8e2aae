"""Run Lua scripts as Argo CD runs those of `argocd-cm`.

Argo CD opens the libraries `package`, `base` and `table` only. `require("os")` has `time` and `date`:
https://github.com/argoproj/argo-cd/blob/master/util/lua/lua.go
"""

from collections.abc import Mapping
from typing import Any

from lupa import lua51

Object = dict[str, Any]

_SANDBOX = """
local date, time = os.date, os.time
getmetatable("").__index = nil
for _, name in ipairs({"string", "math", "io", "debug", "coroutine", "os", "python"}) do
  _G[name] = nil
  package.loaded[name] = nil
end
package.loaded.os = {date = date, time = time}
"""


def health(script: str, obj: Object) -> Object:
    """Return the health status and message from a health check."""
    found: Object = _python(_run(script, obj), {})
    return found


def enabled_actions(script: str, obj: Object) -> dict[str, Object]:
    """Return the actions that a discovery script lists, by name."""
    found: dict[str, Object] = _python(_run(script, obj), {})
    return found


def acted(script: str, obj: Object) -> Object:
    """Return the object after an action."""
    found: Object = _python(_run(script, obj), obj)
    return found


def _run(script: str, obj: Object) -> Any:
    runtime = lua51.LuaRuntime(register_eval=False)
    runtime.execute(_SANDBOX)
    runtime.globals().obj = runtime.table_from(obj, recursive=True)
    return runtime.execute(script)


def _python(value: Any, original: object) -> Any:
    """Convert a Lua value. An empty table has the type of the original value, as in Argo CD."""
    if lua51.lua_type(value) != "table":
        return value
    entries = dict(value.items())
    if not entries:
        return [] if isinstance(original, list) else {}
    if set(entries) == set(range(1, len(entries) + 1)):
        items = original if isinstance(original, list) else []
        return [
            _python(entries[place], items[place - 1] if place <= len(items) else None) for place in entries
        ]
    fields = original if isinstance(original, Mapping) else {}
    return {name: _python(each, fields.get(name)) for name, each in entries.items()}
