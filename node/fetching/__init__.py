"""From a link to files: find holders, ask, verify, open, write."""
