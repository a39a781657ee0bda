"""Everything that waits, opens, dials or sleeps: the storage node, the client's pipelines and the command line."""
