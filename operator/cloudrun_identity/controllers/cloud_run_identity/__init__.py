"""CloudRunIdentity: a service account and its whole life, the grants it declares, and what is told of it."""
