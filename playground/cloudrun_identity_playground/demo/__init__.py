"""The whole product at work in one command."""
