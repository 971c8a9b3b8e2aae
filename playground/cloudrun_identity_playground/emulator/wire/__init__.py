"""gRPC and REST servers over the same handlers."""
