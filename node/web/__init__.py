"""What a node serves by HTTP: its page, the API behind it, and sealed segments for pages of other nodes."""
