"""CustomRole: a custom role of a project and its whole life."""
