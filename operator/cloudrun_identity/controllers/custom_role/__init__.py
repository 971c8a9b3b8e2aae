"""The kind CustomRole: a custom role of a project."""
