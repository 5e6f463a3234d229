"""`livekit.plugins.openai_ga`: another name for `livekit_plugins_openai_ga`, the same modules, not a copy of them.

`livekit.plugins` is a namespace shared by all plugins (PEP 420), so this file lives beside theirs.
"""

import sys
from importlib import import_module

_TARGET = "livekit_plugins_openai_ga"

for _name in ("realtime",):
    sys.modules[f"{__name__}.{_name}"] = import_module(f"{_TARGET}.{_name}")
sys.modules[__name__] = import_module(_TARGET)
