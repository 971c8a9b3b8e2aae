"""The behavior of each Google API in its own module, independent of gRPC and REST."""
