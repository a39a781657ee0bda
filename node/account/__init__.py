"""The account of a home folder: its 24 words, its file under a passphrase, what keeps it unlocked, what it signs."""
