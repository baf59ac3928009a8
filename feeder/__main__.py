"""`python -m feeder`: the command, where it is not installed."""

if __name__ == "__main__":  # and not in the helper processes that read many articles, which need none of it
    from feeder.cli import main

    main()
