"""The kind ManagedProject: a project that is delegated to namespaces."""
