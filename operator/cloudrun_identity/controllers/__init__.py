"""The kinds of custom resources: each decides in a pure plan what its resource in Google Cloud needs."""
