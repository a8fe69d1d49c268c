"""The compiled twins of small classes and functions, cno.engine._fast, where they are there.

With CNO_NO_EXTENSIONS in the environment they are not used.
"""

from __future__ import annotations

import os
from typing import Any

# The module, or None, and why it is None.
MODULE: Any = None
WHY_NOT = ""

# Whether they are not used because somebody wants it so.
UNWANTED = bool(os.environ.get("CNO_NO_EXTENSIONS"))

if UNWANTED:
    WHY_NOT = "CNO_NO_EXTENSIONS is set"
else:
    try:
        from cno.engine import _fast
    except ImportError as error:
        WHY_NOT = f"cno.engine._fast cannot be imported: {error}"
    else:
        MODULE = _fast
