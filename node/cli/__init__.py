"""The command line: `archipel`. One file per group of commands; errors become exit codes here and nowhere else."""

import sys

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""


def main() -> None:
    """Run the command line and exit with the code of docs/operations.md."""
    try:
        from node.cli.root import run  # noqa: PLC0415 - takes 0.1 s, and Ctrl-C then is not to show a traceback

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("archipel: error: interrupted\n")
        code = INTERRUPTED
    sys.exit(code)
