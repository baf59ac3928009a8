"""`python -m tests.chaos.shifted FILE …`: feeder by a clock that is ahead by the seconds that FILE says, whenever it is asked."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from apscheduler.schedulers import base

from feeder import cli, desk


def main() -> None:
    """Run feeder with its arguments."""
    path = Path(sys.argv.pop(1))

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=float(path.read_text()))

    desk.datetime = base.datetime = Shifted
    cli.main()


if __name__ == "__main__":
    main()
