"""`heliograph` with a wall clock that is wrong: `python skewed_operator.py SECONDS operator ...`."""

import datetime
import sys
import time


def skew_clock(seconds: float) -> None:
    """Have this process believe that it is so many seconds later; clocks that only measure stay as they are."""
    shift, true_time = datetime.timedelta(seconds=seconds), time.time

    class Skewed(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Skewed":
            return super().now(tz) + shift

    # Before anything imports the class by name.
    datetime.datetime = Skewed  # type: ignore[misc]
    time.time = lambda: true_time() + seconds


if __name__ == "__main__":
    skew_clock(float(sys.argv.pop(1)))
    from heliograph.main import main

    main()
