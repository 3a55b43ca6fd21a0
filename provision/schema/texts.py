"""What the editor shows of a key: its row in ``docs/spec.md``, which is the one place where the keys are described."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_HEADING: Final = r"(?m)^## (.+)$"
_ROW: Final = r"(?m)^\| `(\w+)` \|(.*?)\| (.*) \|$"
_SEE: Final = r"[:;,.]? \(?(?:see )?\[(?:below|above|More)\]\([^)]*\)\)?"
_LINK: Final = r"\[([^\]]*)\]\([^)]*\)"


class Text(NamedTuple):
    """What is said of a key: its default as the page has it, and its meaning, both in Markdown without links."""

    default: str
    meaning: str

    @property
    def markdown(self) -> str:
        """The text as Markdown."""
        default = f"Default: {self.default}." if self.default else ""
        said = (self.meaning, "Required." if self.default == "required" else default)
        return "\n\n".join(f"{each[0].upper()}{each[1:].removesuffix('.')}." for each in said if each)

    @property
    def plain(self) -> str:
        """The text for an editor that shows no Markdown."""
        return self.markdown.replace("`", "")


def texts(page: str) -> Mapping[str, Mapping[str, Text]]:
    """Return what ``docs/spec.md`` says of each key, by the heading of its section."""
    parts = re.split(_HEADING, page)
    return {
        title: {key: Text(_plain(default), _plain(meaning)) for key, default, meaning in re.findall(_ROW, text)}
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def _plain(cell: str) -> str:
    r"""Return a cell of a table without its links, which lead nowhere in an editor.

    >>> _plain("what runs: [below](#server)"), _plain("a list of [mappings](#x), `a \\| b`")
    ('what runs', 'a list of mappings, `a | b`')
    """
    return re.sub(_LINK, r"\1", re.sub(_SEE, "", cell)).replace("\\|", "|").strip()
