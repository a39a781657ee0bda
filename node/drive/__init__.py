"""The account's drive: its list of deposits, on the network and in the home."""
