"""What applying objects would change in Google Cloud, by the same comparisons that the controllers go by."""
