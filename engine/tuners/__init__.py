"""What part of a model changes, one file each."""

from engine.job import Tuner
from engine.registry import Registry

DEFAULT = "lora"
_registry: Registry[Tuner] = Registry(__name__, list(__path__), "tuner")
all = _registry.all
get = _registry.get
add = _registry.add
remove = _registry.remove
