"""Organization policies in Resource Manager v1, which `gcloud resource-manager org-policies` calls.

https://cloud.google.com/resource-manager/reference/rest/v1/projects/setOrgPolicy; the policies are those of
Organization Policy v2.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import grpc
from google.cloud import orgpolicy_v2 as orgpolicy
from google.protobuf import json_format

from cloudrun_identity_playground.emulator.errors import GoogleError, invalid

from .methods import as_protobuf

Json = dict[str, Any]

_URL = re.compile(
    r"/v1/(?P<holder>(?:projects|folders|organizations)/[^/:]+):"
    r"(?P<verb>get|set|clear|list|getEffective)OrgPolic(?:y|ies)"
)
_SERVICE = "google.cloud.orgpolicy.v2.OrgPolicy"


class OrgPolicyV1:
    """Answers the five methods. `call` calls a method of v2."""

    def __init__(self, call: Callable[[str, Any], Any]) -> None:
        self._call = call

    async def answer(self, path: str, body: Json) -> Json | None:
        """Return the response; None if the URL is one of another API.

        Raises GoogleError: as the methods of v2.
        """
        match = _URL.fullmatch(path)
        if match is None:
            return None
        holder, verb = match.groups()
        if verb == "list":
            listed = await self._call(
                f"{_SERVICE}/ListPolicies", orgpolicy.ListPoliciesRequest(parent=holder)
            )
            return {"policies": [_to_v1(each) for each in listed.policies]}
        constraint = body.get("policy", body).get("constraint", "").removeprefix("constraints/")
        name = f"{holder}/policies/{constraint}"
        match verb:
            case "get":
                found = await self._find(name)
                return _to_v1(found) if found is not None else {"constraint": f"constraints/{constraint}"}
            case "getEffective":
                request = orgpolicy.GetEffectivePolicyRequest(name=name)
                return _to_v1(await self._call(f"{_SERVICE}/GetEffectivePolicy", request))
            case "clear":
                if await self._find(name) is not None:
                    await self._call(f"{_SERVICE}/DeletePolicy", orgpolicy.DeletePolicyRequest(name=name))
                return {}
        return _to_v1(await self._set(holder, name, body.get("policy", {})))

    async def _set(self, holder: str, name: str, sent: Json) -> orgpolicy.Policy:
        policy = orgpolicy.Policy(name=name, spec=_spec(sent))
        if await self._find(name) is None:
            request: Any = orgpolicy.CreatePolicyRequest(parent=holder, policy=policy)
            created: orgpolicy.Policy = await self._call(f"{_SERVICE}/CreatePolicy", request)
            return created
        policy.etag = base64.b64decode(sent.get("etag", "")).decode()
        request = orgpolicy.UpdatePolicyRequest(policy=policy)
        updated: orgpolicy.Policy = await self._call(f"{_SERVICE}/UpdatePolicy", request)
        return updated

    async def _find(self, name: str) -> orgpolicy.Policy | None:
        try:
            found: orgpolicy.Policy = await self._call(
                f"{_SERVICE}/GetPolicy", orgpolicy.GetPolicyRequest(name=name)
            )
        except GoogleError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return found


def _spec(sent: Json) -> orgpolicy.PolicySpec:
    """Return the spec of v2."""
    rule = orgpolicy.PolicySpec.PolicyRule
    match sent:
        case {"restoreDefault": _}:
            return orgpolicy.PolicySpec(reset=True)
        case {"booleanPolicy": boolean}:
            return orgpolicy.PolicySpec(rules=[rule(enforce=boolean.get("enforced", False))])
        case {"listPolicy": {"allValues": "ALLOW"}}:
            return orgpolicy.PolicySpec(rules=[rule(allow_all=True)])
        case {"listPolicy": {"allValues": "DENY"}}:
            return orgpolicy.PolicySpec(rules=[rule(deny_all=True)])
        case {"listPolicy": values}:
            listed = rule.StringValues(
                allowed_values=values.get("allowedValues", ()), denied_values=values.get("deniedValues", ())
            )
            inherits = values.get("inheritFromParent", False)
            return orgpolicy.PolicySpec(rules=[rule(values=listed)], inherit_from_parent=inherits)
    raise invalid("The policy has neither booleanPolicy nor listPolicy nor restoreDefault.")


def _to_v1(policy: orgpolicy.Policy) -> Json:
    spec = json_format.MessageToDict(as_protobuf(policy)).get("spec", {})
    shown: Json = {"constraint": f"constraints/{policy.name.rpartition('/')[2]}"}
    if policy.etag:
        shown["etag"] = base64.b64encode(policy.etag.encode()).decode()
    if "updateTime" in spec:
        shown["updateTime"] = spec["updateTime"]
    rules = spec.get("rules", [{}])
    match rules[0] if rules else {}:
        case _ if spec.get("reset"):
            shown["restoreDefault"] = {}
        case {"enforce": enforced}:
            shown["booleanPolicy"] = {"enforced": True} if enforced else {}
        case {"allowAll": True}:
            shown["listPolicy"] = {"allValues": "ALLOW"}
        case {"denyAll": True}:
            shown["listPolicy"] = {"allValues": "DENY"}
        case {"values": values}:
            inherits = {"inheritFromParent": True} if spec.get("inheritFromParent") else {}
            shown["listPolicy"] = {**values, **inherits}
    return shown
