"""Export of a Google Cloud project as manifests: survey, selection, guardrails and manifests."""
