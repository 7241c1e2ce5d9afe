"""Check the docstrings at the front doors of the package against the numpydoc standard.

``numpydoc lint`` reads sources, so it takes private functions for public ones and does not see
the parameters of dataclasses. This imports the package and asks numpydoc about what packages and
the modules of ``FRONT_DOORS`` list in ``__all__``, and about the public methods of classes. Inner
modules have one line and shapes. Which checks are made is said in ``pyproject.toml``; the fields of
dataclasses and named tuples may be attributes instead of parameters, and methods, whose class says
what they are for, need no sections.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

from numpydoc.hooks.validate_docstrings import parse_config
from numpydoc.validate import validate

import openunmix

#: Modules that users read, beside the packages.
FRONT_DOORS = (
    "openunmix.filtering.gaussian",
    "openunmix.transforms.fourier",
    "openunmix.utils",
)


def public_names() -> Iterator[tuple[str, object]]:
    """Full name of every public function, class and method, each once, and what it names."""
    seen = set()
    for module in pkgutil.walk_packages(openunmix.__path__, "openunmix."):
        private = any(part.startswith("_") for part in module.name.split("."))
        if private or not (module.ispkg or module.name in FRONT_DOORS):
            continue
        content = importlib.import_module(module.name)
        for name in getattr(content, "__all__", ()):
            member = getattr(content, name)
            public = isinstance(member, type | FunctionType) and name[0] != "_"
            if public and member not in seen:
                seen.add(member)
                yield f"{module.name}.{name}", member
                yield from _methods(f"{module.name}.{name}", member)


def _methods(name: str, member: object) -> Iterator[tuple[str, object]]:
    """Full names of the public methods that a class defines itself, and the methods."""
    if not inspect.isclass(member):
        return
    for method, value in vars(member).items():
        if not method.startswith("_") and inspect.isfunction(value):
            yield f"{name}.{method}", value


def _exempt(member: object) -> set[str]:
    """Return the checks not made: of methods, and of classes whose fields are the parameters."""
    if inspect.isfunction(member) and "." in member.__qualname__:
        return {"PR01", "RT01"}
    record = dataclasses.is_dataclass(member) or hasattr(member, "_fields")
    return {"PR01"} if record else set()


def main() -> int:
    """Print what is wrong; return the exit code."""
    checks = set(parse_config(str(Path(__file__).parent.parent))["checks"])
    names = list(public_names())
    faults = [
        f"{name}: {code} {message}"
        for name, member in names
        for code, message in validate(name)["errors"]
        if code in checks - _exempt(member)
    ]
    print("\n".join([*faults, f"{len(names)} docstrings checked, {len(faults)} faults"]))
    return 1 if faults or not names else 0


if __name__ == "__main__":
    sys.exit(main())
