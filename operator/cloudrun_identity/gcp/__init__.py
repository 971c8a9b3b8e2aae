"""Google Cloud over gRPC: one client factory, one module an API, one lane a policy."""
