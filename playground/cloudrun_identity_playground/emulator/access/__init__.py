"""Authentication and authorization: each call is checked against the policies in the emulator."""
