"""From the grants that specs declare to claims on policies, whichever kind declares them."""
