"""What the page counts on the network, in the background: nodes and what they claim; the deposits of a drive."""
