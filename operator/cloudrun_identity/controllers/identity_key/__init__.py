"""IdentityKey: keys that follow one another, and the Secret that each is delivered in."""
