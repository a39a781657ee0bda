"""What a node keeps on its disk: chunks, leases, and the index of both."""
