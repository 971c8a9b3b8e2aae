"""Health checks and actions for Argo CD: the sources of the folder `argocd/`."""
