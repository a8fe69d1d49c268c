"""Imports cno.engine._fast, which has compiled twins of small classes and functions.

cno works without the module, more slowly. The environment variable CNO_NO_EXTENSIONS turns the
module off.
"""

from __future__ import annotations

import os
from typing import Any

# The module; or None, and the reason for that as a text.
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
