"""Conversion of Config Connector's manifests and of Terraform's state to manifests of the operator."""
