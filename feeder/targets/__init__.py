"""The places headlines go, one module a kind. A new kind is a new file here: its name is the `kind` of the settings.

See `base.Target` for what a kind has to say, and CONTRIBUTING.md for how to add one.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from feeder.targets.base import Target

_SHARED = ("base", "servers")  # modules that are no kind


def kinds() -> list[str]:
    """The kinds that there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SHARED)


def target_class(kind: str) -> type[Target]:
    """The class of targets of this kind. KeyError when there is no such kind."""
    if kind not in kinds():
        raise KeyError(kind)
    module = import_module(f"{__name__}.{kind}")
    return next(
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Target) and found.__module__ == module.__name__
    )
