"""How calls arrive: gRPC and REST over the same handlers."""
