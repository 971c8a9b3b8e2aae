"""Views of a whole cluster, computed from its objects: `status`, `tree` and the web page show them."""
