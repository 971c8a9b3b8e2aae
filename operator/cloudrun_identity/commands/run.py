"""`cloudrun-identity run`: run the operator."""

import asyncio
import gc
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudrun_identity.manager.memory import THRESHOLD, exempt_from_collection, return_buffers

from .formats import examples
from .google import google_options, quiet_grpc
from .options import KUBECONFIG, OPERATOR_NAMESPACE, Duration, operator_namespace_of

if TYPE_CHECKING:
    from aiohttp import web

    from cloudrun_identity.kube.client import KubeClient

PAGE_INTERVAL = 5.0
"""Minimum seconds between two reads of the cluster for the web page."""


@click.command(
    epilog=examples(
        "cloudrun-identity run",
        "cloudrun-identity run --log-format text --log-level debug --http-port 0",
    )
)
@KUBECONFIG
@google_options
@OPERATOR_NAMESPACE
@click.option(
    "--lease-duration",
    type=Duration(),
    default="15s",
    show_default=True,
    help="Time after which a standby takes over from a leader that no longer renews.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port of /healthz, /readyz and /metrics; 0 for any free port.",
)
@click.option(
    "--ui",
    is_flag=True,
    help="Serve a read-only web page at /ui/ of the HTTP port, to connections from the pod itself only.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Number of objects to reconcile at the same time. Waiting objects do not count.",
)
@click.option(
    "--change-feed",
    metavar="SUBSCRIPTION",
    default="",
    help="Pub/Sub subscription with the audit logs of ManagedProjects without spec.changeFeed.subscription.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least severe level of the log.",
)
@click.option(
    "--log-format",
    type=click.Choice(["json", "text"]),
    default="json",
    show_default=True,
    help="Format of the log.",
)
def run(
    kubeconfig: str | None,
    google_endpoint: str | None,
    google_token_file: Path | None,
    operator_namespace: str | None,
    lease_duration: timedelta,
    http_port: int,
    ui: bool,
    concurrency: int,
    change_feed: str,
    log_level: str,
    log_format: str,
) -> None:
    """Run the operator until SIGTERM."""
    if lease_duration < timedelta(seconds=1):
        raise click.BadParameter("must be at least 1s", param_hint="--lease-duration")
    _check_subscription(change_feed)
    quiet_grpc()
    return_buffers()
    with exempt_from_collection():  # modules are never freed
        # Imported here, because kopf and the Google clients are slow to import.
        from cloudrun_identity import handlers
        from cloudrun_identity.manager import kopf_adapter, logs, process
    gc.set_threshold(THRESHOLD)
    logs.configure(
        level=logging.getLevelNamesMapping()[log_level.upper()],
        log_format=logs.LogFormat(log_format),
        library_levels={**logs.LIBRARY_LEVELS, **kopf_adapter.LOG_LEVELS},
    )
    settings = process.Settings(
        kubeconfig=kubeconfig,
        google_endpoint=google_endpoint,
        google_token_file=google_token_file,
        namespace=operator_namespace_of(operator_namespace),
        lease_duration=lease_duration.total_seconds(),
        http_port=http_port,
        concurrency=concurrency,
        change_feed=change_feed,
    )
    try:
        asyncio.run(process.run(settings, handlers.watch, _page if ui else None))
    except process.FAILURES as failure:
        raise click.ClickException(str(failure)) from None


def _page(client: "KubeClient") -> "web.Application":
    """Return the web page. All its viewers together read the cluster once per PAGE_INTERVAL."""
    from cloudrun_identity.ui.server import application
    from cloudrun_identity.ui.source import Source

    return application(Source(client, client.server, interval=PAGE_INTERVAL), local_only=True)


def _check_subscription(name: str) -> None:
    if name:
        from cloudrun_identity.api.change_feed import SUBSCRIPTION_FORM

        if not re.match(SUBSCRIPTION_FORM, name):
            message = f"{name!r} is not the name of a subscription: projects/PROJECT/subscriptions/NAME"
            raise click.BadParameter(message, param_hint="--change-feed")
