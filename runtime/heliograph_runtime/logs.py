"""Logs go to standard error as plain lines; neither prompts nor pictures are ever in them."""

import logging
import sys


def configure_logging() -> None:
    """Send this process's logs to standard error; called once, by whoever starts the process."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
