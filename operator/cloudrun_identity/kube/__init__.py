"""Kubernetes API clients and helpers. Nothing in here knows Google Cloud.

connection
    Find the API server and the credentials: kubeconfig, exec plugins, the pod's service account.
client
    Send requests to the API server.
resources
    Describe resources as URL paths, and the client as the protocol `ObjectClient`.
errors
    Classify failed requests.
objects
    Work on raw objects: find their resource, shrink them for the cache, read them again, build merge patches.
crds
    Check that the installed CRDs are served and have the fields that this operator needs.
access
    List the permissions that the operator needs in the cluster, and review those of the present user.
finalizers
    Add and remove the operator's finalizer.
status_writer
    Write the status subresource.
event_recorder
    Record Events, with equal Events counted up.
lease
    Elect a leader with a Lease.
secrets
    Store service account keys in Secrets.
manifest_files
    Read and validate manifests from files.
"""
