"""`cloudrun-identity recommend`: findings of Google as changes of manifests."""
