"""The command line: `archipel`. One file per group of commands; errors become exit codes here and nowhere else."""

from node.cli.main import main

__all__ = ["main"]
