"""`python -m feeder`: the command, where it is not installed."""

from feeder.cli import main

main()
