"""An account's drive: the list of what it keeps on other people's nodes."""
