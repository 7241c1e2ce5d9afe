"""The HTML pages that the package writes, as Jinja templates."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openunmix._version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render"]


def render(template: str, **values: Any) -> str:
    """Render a template of this folder; values are escaped unless it marks them as ``safe``."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    """Load jinja2, which takes 50 ms, with the first page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["version"] = __version__
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment
