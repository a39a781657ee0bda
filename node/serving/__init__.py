"""What a node does for others: connections, requests, what it signs, whether it can be reached."""
