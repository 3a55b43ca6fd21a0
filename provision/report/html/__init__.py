"""One self-contained HTML page about an environment: no script, no network, no font, and no secret.

The template is ``templates/report.html.j2``; everything that it shows is escaped, and decided in ``view``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from provision.observe.outside import shipped
from provision.report.html.view import Limits, Page, view
from provision.report.words import UNSAFE

if TYPE_CHECKING:
    from jinja2 import Template

    from provision.review import Review

LARGEST: Final = 200_000
"""Bytes of a page."""
_PARTS: Final = (1.0, 0.5, 0.2, 0.05)
_UNSAFE: Final = {**UNSAFE, **dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}"), ord("\n"): "\n"}


def page(review: Review, *, spec: str = "") -> str:
    """Return the page; ``spec`` is the path of the spec as it was typed, for the commands in it.

    What there is most of is left out, with its number, where it would be more than 200 kB.
    """
    text = ""
    for part in _PARTS:
        text = render(view(review, spec=spec, limits=Limits().scaled(part)))
        if len(text.encode()) < LARGEST:
            break
    return text


def render(shown: Page) -> str:
    """Return the HTML of a page."""
    return _template().render(page=shown)


@cache
def _template() -> Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped()),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    return environment.get_template("report.html.j2")


def _visible(value: Any) -> Any:
    """Return a text without characters that a page must not have, or that make it read as it is not."""
    return value.translate(_UNSAFE) if type(value) is str else value
