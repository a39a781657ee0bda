"""A part of a deposit as a deposit of its own, whose link opens that part and nothing else."""
