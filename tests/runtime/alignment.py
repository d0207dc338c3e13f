"""Where weights lie in memory, which some processors' rounding depends on.

A file's weights and a folder's are read to other offsets, and on some processors their pictures then differ by one in
the last place. In memory that torch itself takes, all lie alike, and equal weights draw the same to the bit.
"""

from typing import Any

import torch


def realign(pipeline: Any) -> None:
    """Move a pipeline's weights to memory that torch takes."""
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            for weight in (*part.parameters(), *part.buffers()):
                weight.data = weight.data.clone()
