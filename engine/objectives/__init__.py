"""What a model learns from, one file each."""

from engine.methods.objective import Objective
from engine.methods.registry import Registry

DEFAULT = "chat"
_registry: Registry[Objective] = Registry(__name__, list(__path__), "objective")
all = _registry.all
get = _registry.get
add = _registry.add
remove = _registry.remove
