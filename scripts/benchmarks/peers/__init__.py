"""What others reach, in the same run: each is installed into an environment of its own, which is thrown away."""
