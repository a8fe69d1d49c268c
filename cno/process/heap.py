"""How much freed memory a process that cno runs keeps for the next body.

An event loop reads uploads in pieces of up to 256 KiB, which live until the application has taken
them. glibc returns freed memory at the end of its heap to the kernel above 128 KiB; each piece then
costs page faults, which take longer than the copy. The environment variables of malloc(3) win.
"""

from __future__ import annotations

import os

from cno.engine import fast

# Bytes of freed memory that the end of the heap keeps.
TRIM = 8 << 20

# Bytes from which on memory comes from the kernel and goes back to it when it is freed.
MMAP = 1 << 20

VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep() -> bool:
    """Sets both thresholds. Returns whether that was possible and wanted."""
    if fast.MODULE is None or any(name in os.environ for name in VARIABLES):
        return False
    return bool(fast.MODULE.keep_heap(TRIM, MMAP))
