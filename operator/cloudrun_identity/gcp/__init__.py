"""Google Cloud over gRPC: one client factory, one module an API, and the engine that writes policies."""
