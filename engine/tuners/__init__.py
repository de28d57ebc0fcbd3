"""What part of a model changes, one file each."""

from engine.methods.registry import Registry
from engine.methods.tuner import Tuner

DEFAULT = "lora"
_registry: Registry[Tuner] = Registry(__name__, list(__path__), "tuner")
all = _registry.all
get = _registry.get
add = _registry.add
remove = _registry.remove
