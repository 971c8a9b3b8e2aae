"""Pub/Sub: topics, subscriptions and the delivery of messages."""
