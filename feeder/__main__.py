"""`python -m feeder`: the command, where it is not installed."""

from feeder.cli import main

if __name__ == "__main__":  # and not in the helper processes that read many articles
    main()
