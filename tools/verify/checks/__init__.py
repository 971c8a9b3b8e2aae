"""The checks of beliefs, one module per group."""
