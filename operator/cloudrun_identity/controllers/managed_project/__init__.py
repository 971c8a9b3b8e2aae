"""ManagedProject: a project that is lent to namespaces, and what a platform team should know of it."""
