"""The write-ahead record of what the operator manages: model, store, index and limits."""
