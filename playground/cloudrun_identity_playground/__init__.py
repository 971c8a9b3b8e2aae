"""Google Cloud emulator, embedded Kubernetes API server, and a demo that runs the operator against both."""
