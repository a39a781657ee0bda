"""The page of a node, in Debian's Chromium."""
