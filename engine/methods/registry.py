"""Finds the methods of a package: one file each, one instance named METHOD in it."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import Generic, TypeVar

from engine.errors import SettingError
from engine.method import Method

M = TypeVar("M", bound=Method)


class Registry(Generic[M]):
    def __init__(self, package: str, path: list[str], word: str) -> None:
        self._package = package
        self._path = path
        self._word = word
        self._found: dict[str, M] | None = None

    def all(self) -> list[M]:
        """Every method in the order that it declares."""
        return sorted(self._methods().values(), key=lambda method: (method.order, method.name))

    def get(self, name: str) -> M:
        """The method of this name, or SettingError that lists the known ones."""
        methods = self._methods()
        if name in methods:
            return methods[name]
        known = ", ".join(method.name for method in self.all())
        near = difflib.get_close_matches(name, methods, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingError([f"There is no {self._word} named {name!r}.{hint} Available: {known}."])

    def add(self, method: M) -> None:
        """Make a method known that lives in no file of the package (tests, plug-ins)."""
        self._methods()[method.name] = method

    def remove(self, name: str) -> None:
        self._methods().pop(name, None)

    def _methods(self) -> dict[str, M]:
        if self._found is None:
            self._found = {}
            for module in pkgutil.iter_modules(self._path):
                method = getattr(importlib.import_module(f"{self._package}.{module.name}"), "METHOD", None)
                if method is not None:
                    self._found[method.name] = method
        return self._found
