"""What each kind means: its whole life on one page, driven by one generic reconcile."""
