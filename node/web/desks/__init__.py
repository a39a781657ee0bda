"""What the API asks of the account and the drive of the home."""
