"""Names: the newest version of what somebody publishes by key, and publishing so oneself (docs/spec/names.md)."""
