"""The web page that shows identities, who may act as them, drift, and what needs a person."""
