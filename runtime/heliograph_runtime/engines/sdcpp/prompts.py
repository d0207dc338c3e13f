"""Prompts that would end the process.

stable-diffusion.cpp reads weights with `std::stof`, and nothing catches what that throws.
"""

import re

from heliograph_runtime.engines.protocol import RefusedError

# What the library takes for the weight at the end of brackets (`parse_prompt_attention` in `tokenizers/`), and the
# part of it that `std::stof` reads.
_WEIGHT = re.compile(r":([+-]?[.\d]+)\)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_LARGEST = 3.4e38
_SMALLEST = 1.2e-38
"""Magnitudes that a float has; `std::stof` refuses others, 0 aside."""
MOST_BYTES = 8_000
"""Its regular expressions need stack for each byte of a prompt. With the usual 8 MB of it 16,000 bytes of anything were
read, and most kinds of 32,000 ended the process."""


def check_prompt(text: str, *, field: str) -> None:
    """Raise `RefusedError` for a prompt that the library can't read.

    Args:
        text: The prompt.
        field: What it is called in a request.
    """
    if len(text.encode()) > MOST_BYTES:
        raise RefusedError(field, f"must have at most {MOST_BYTES} bytes as UTF-8 for this engine; shorten it.")
    for match in _WEIGHT.finditer(text):
        number = _NUMBER.match(match[1])
        size = abs(float(number[0])) if number else None
        if size is None or (size and not _SMALLEST <= size <= _LARGEST):
            raise RefusedError(
                field, f"has a weight that is no number, {match[1][:20]!r}; write one such as (word:1.2)."
            )
