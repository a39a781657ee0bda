"""From files to chunks on other nodes: read, cut, seal, place."""
