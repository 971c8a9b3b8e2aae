"""The Admin Activity audit log: an entry in Google's form for each call that writes."""
