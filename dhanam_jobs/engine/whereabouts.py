"""Where another process finds a function, so that it can be named to it instead of being sent."""

from __future__ import annotations

import os
import sys
from typing import Any

from .errors import ConfigurationError

#: The name under which another process runs the script that was started, as multiprocessing does it: a guard of
#: `if __name__ == "__main__"` keeps it from starting everything again.
SCRIPT = "__mp_main__"


def whereabouts(function: Any) -> tuple[str | None, str]:
    """The path of the started script where the function stands in that, else None; and `module:name`. Raises
    ConfigurationError for a function that no module holds by its name."""
    module, name = function.__module__, function.__qualname__
    if "<" in name:
        raise ConfigurationError(f"handler {name!r}: wanted a function of a module, which another process can import")
    if module != "__main__":
        return None, f"{module}:{name}"
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return None, f"{spec.name}:{name}"
    path = getattr(main, "__file__", None)
    if path is None:
        raise ConfigurationError(f"handler {name!r} was typed in: wanted a function from a file")
    return os.path.abspath(path), f"{SCRIPT}:{name}"
