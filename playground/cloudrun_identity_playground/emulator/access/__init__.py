"""Who may do what: each call is authorised as its caller, against the policies in the emulator."""
