"""The account's drive: its list of deposits, and folders kept equal to what is in it."""
