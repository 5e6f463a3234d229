"""`livekit.plugins.openai_ga`: another name for `livekit_plugins_openai_ga`, the same modules, not a copy of them.

`livekit.plugins` is a namespace shared by all plugins (PEP 420), so this one file lives beside theirs.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

_ALIAS = __name__
_TARGET = "livekit_plugins_openai_ga"


class _SameModule(MetaPathFinder, Loader):
    """Answers an import of `livekit.plugins.openai_ga.x` with the module `livekit_plugins_openai_ga.x` itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname.startswith(_ALIAS + ".") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(_TARGET + spec.name[len(_ALIAS) :])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec on the module; give it its own back.
        alias = module.__spec__
        assert alias is not None
        module.__spec__ = alias.loader_state


sys.meta_path.insert(0, _SameModule())
sys.modules[_ALIAS] = import_module(_TARGET)
