"""The option that selects a cluster."""

import click

KUBECONFIG = click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="Kubeconfig file. [default: KUBECONFIG, ~/.kube/config, or the pod's own access]",
)
