"""Containers and volumes of Cloud Run v1, as those of v2 and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloudrun_identity_playground.emulator.errors import invalid

Json = dict[str, Any]

CPU_THROTTLING = "run.googleapis.com/cpu-throttling"
CPU_BOOST = "run.googleapis.com/startup-cpu-boost"
CLOUD_SQL = "run.googleapis.com/cloudsql-instances"

_CONTAINER = (
    *("name", "image", "command", "args", "workingDir", "ports", "volumeMounts"),
    *("livenessProbe", "startupProbe", "readinessProbe"),
)
_SAME = (
    ("serviceAccountName", "serviceAccount"),
    ("containerConcurrency", "maxInstanceRequestConcurrency"),
    ("maxRetries", "maxRetries"),
)
_GCS_DRIVER = "gcsfuse.run.googleapis.com"
_SQL_VOLUME = "cloudsql"


def template_to_v2(spec: Mapping[str, Any], annotations: Json) -> Json:
    """Return the fields of a v2 template that a spec of v1 has, and remove their annotations."""
    idle = annotations.pop(CPU_THROTTLING, None)
    boost = annotations.pop(CPU_BOOST, None)
    instances = annotations.pop(CLOUD_SQL, "")
    template: Json = {"containers": [_container_to_v2(each) for each in spec.get("containers", ())]}
    for container in template["containers"]:
        resources = container.setdefault("resources", {})
        if idle is not None:
            resources["cpuIdle"] = idle.lower() == "true"
        if boost is not None:
            resources["startupCpuBoost"] = boost.lower() == "true"
    volumes = [_volume_to_v2(each) for each in spec.get("volumes", ())]
    if instances:
        volumes.append({"name": _SQL_VOLUME, "cloudSqlInstance": {"instances": instances.split(",")}})
        for container in template["containers"]:
            container.setdefault("volumeMounts", []).append({"name": _SQL_VOLUME})
    if volumes:
        template["volumes"] = volumes
    template |= {field: spec[name] for name, field in _SAME if name in spec}
    if "timeoutSeconds" in spec:
        template["timeout"] = f"{spec['timeoutSeconds']}s"
    return template


def template_to_v1(template: Mapping[str, Any]) -> tuple[Json, Json]:
    """Return the spec of v1 for a v2 template, and the annotations that belong to it."""
    volumes = template.get("volumes", ())
    databases = {each["name"]: each["cloudSqlInstance"] for each in volumes if "cloudSqlInstance" in each}
    spec: Json = {"containers": [_container_to_v1(each, databases) for each in template["containers"]]}
    spec |= {name: template[field] for name, field in _SAME if field in template}
    if "timeout" in template:
        spec["timeoutSeconds"] = int(float(template["timeout"].removesuffix("s")))
    if shown := [_volume_to_v1(each) for each in volumes if each["name"] not in databases]:
        spec["volumes"] = shown
    annotations: Json = {}
    resources = [each.get("resources", {}) for each in template["containers"]]
    if resources and not any(each.get("cpuIdle", True) for each in resources):
        annotations[CPU_THROTTLING] = "false"
    if any(each.get("startupCpuBoost") for each in resources):
        annotations[CPU_BOOST] = "true"
    if databases:
        instances = (name for each in databases.values() for name in each.get("instances", ()))
        annotations[CLOUD_SQL] = ",".join(instances)
    return spec, annotations


def _container_to_v2(container: Mapping[str, Any]) -> Json:
    converted = {name: container[name] for name in _CONTAINER if name in container}
    if limits := container.get("resources", {}).get("limits"):
        converted["resources"] = {"limits": dict(limits)}
    if "env" in container:
        converted["env"] = [_variable_to_v2(each) for each in container["env"]]
    converted["volumeMounts"] = [dict(each) for each in container.get("volumeMounts", ())]
    return converted


def _container_to_v1(container: Mapping[str, Any], databases: Mapping[str, Any]) -> Json:
    converted = {name: container[name] for name in _CONTAINER if name in container}
    if limits := container.get("resources", {}).get("limits"):
        converted["resources"] = {"limits": limits}
    if "env" in container:
        converted["env"] = [_variable_to_v1(each) for each in container["env"]]
    mounts = [each for each in container.get("volumeMounts", ()) if each["name"] not in databases]
    converted.pop("volumeMounts", None)
    return {**converted, "volumeMounts": mounts} if mounts else converted


def _variable_to_v2(variable: Mapping[str, Any]) -> Json:
    source = variable.get("valueFrom")
    if source is None:
        return {"name": variable["name"], "value": variable.get("value", "")}
    if "secretKeyRef" not in source:
        raise invalid(f"The variable {variable['name']} refers to something that is not a secret.")
    reference = source["secretKeyRef"]
    secret = {"secret": reference["name"], "version": reference["key"]}
    return {"name": variable["name"], "valueSource": {"secretKeyRef": secret}}


def _variable_to_v1(variable: Mapping[str, Any]) -> Json:
    if "valueSource" not in variable:
        return dict(variable)
    secret = variable["valueSource"]["secretKeyRef"]
    reference = {"name": secret["secret"], "key": secret.get("version", "latest")}
    return {"name": variable["name"], "valueFrom": {"secretKeyRef": reference}}


def _volume_to_v2(volume: Mapping[str, Any]) -> Json:
    match volume:
        case {"name": name, "secret": secret}:
            items = [{"version": each["key"], "path": each["path"]} for each in secret.get("items", ())]
            return {"name": name, "secret": {"secret": secret["secretName"], "items": items}}
        case {"name": name, "emptyDir": {**directory}}:
            medium = {"medium": str(directory["medium"]).upper()} if "medium" in directory else {}
            return {"name": name, "emptyDir": {**directory, **medium}}
        case {"name": name, "nfs": nfs}:
            return {"name": name, "nfs": nfs}
        case {"name": name, "csi": csi} if csi.get("driver") == _GCS_DRIVER:
            bucket = csi.get("volumeAttributes", {}).get("bucketName", "")
            return {"name": name, "gcs": {"bucket": bucket, "readOnly": csi.get("readOnly", False)}}
    raise invalid(f"The volume {volume.get('name', '')} is of an unknown kind.")


def _volume_to_v1(volume: Mapping[str, Any]) -> Json:
    match volume:
        case {"name": name, "secret": secret}:
            items: Iterable[Mapping[str, Any]] = secret.get("items", ())
            shown = [{"key": each.get("version", "latest"), "path": each["path"]} for each in items]
            return {"name": name, "secret": {"secretName": secret["secret"], "items": shown}}
        case {"name": name, "gcs": gcs}:
            csi = {"driver": _GCS_DRIVER, "volumeAttributes": {"bucketName": gcs["bucket"]}}
            return {"name": name, "csi": {**csi, "readOnly": gcs.get("readOnly", False)}}
    return dict(volume)
