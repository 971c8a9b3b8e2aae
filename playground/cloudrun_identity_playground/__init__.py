"""A Kubernetes API and a Google Cloud small enough to run beside the operator on one machine."""
