"""Uploads and downloads of the node for its page, which outlive page and node (docs/operations.md, "Transfers")."""
