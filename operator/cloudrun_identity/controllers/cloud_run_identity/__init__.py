"""CloudRunIdentity: a service account from its creation to its deletion, its grants, and its audit."""
