"""`python -m node.cli`: how a local network starts its nodes."""

from node.cli import main

main()
