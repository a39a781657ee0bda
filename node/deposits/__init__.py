"""What a depositor and a reader do: publish, fetch, list, check, renew and delete deposits."""
