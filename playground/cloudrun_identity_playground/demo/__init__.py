"""The command `cloudrun-identity demo`, which shows the operator at work on one machine."""
