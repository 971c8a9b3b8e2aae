"""What a live project has, written down as the manifests that declare it."""
