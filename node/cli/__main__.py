"""`python -m node.cli`: how a local network starts its nodes."""

from node.cli.main import main

main()
