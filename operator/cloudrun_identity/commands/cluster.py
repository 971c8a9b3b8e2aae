"""The cluster that a command is for."""

import click

KUBECONFIG = click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="File that says where the cluster is. [default: KUBECONFIG, ~/.kube/config, or the pod's own]",
)
