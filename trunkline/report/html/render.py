"""From a page's data to HTML: templates that escape, one style sheet, one script, and a policy that lets in no more.

Names come from files of strangers. They reach the page in three layers: characters that a renderer might obey are shown
as their escapes, the templates escape what HTML reads as markup, and the page's policy forbids every request and every
script but the one whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from trunkline.report.html.sortable import sortable
from trunkline.text import printable, shortened

LONGEST_TEXT = 4000
"""Characters of one text; a name of megabytes would make the page one."""
_TEMPLATES = files("trunkline.report.html") / "templates"


def render(template: str, **content: Any) -> str:
    """Return a template of the folder ``templates`` with content filled in."""
    style, script = (Markup(_text_of(name)) for name in ("style.css", "script.js"))  # noqa: S704  # our own
    found = _environment().get_template(template)
    return found.render(**content, style=style, script=script, policy=policy_of(style, script))


def shown(value: Any) -> Any:
    r"""Return what a template shows of a value: of text, nothing that a renderer might obey.

    >>> shown("conv\x1b[31m\u202e")
    'conv\\x1b[31m\\u202e'
    """
    # Our own markup stands for itself; whatever comes from a file was escaped where it was put into it.
    if isinstance(value, Markup):
        return value
    return printable(shortened(str(value), LONGEST_TEXT))


def uri(content: str) -> Markup:
    """Return a picture's data URI, which is long, and of letters that markup does not read."""
    assert re.fullmatch(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", content), "no picture"
    return Markup(content)  # noqa: S704  # it has just been looked at


def policy_of(style: str, script: str) -> Markup:
    """Return the page's Content-Security-Policy: this style, this script, pictures in the page, and nothing else."""
    return Markup(  # noqa: S704  # made of hashes
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def anchor(title: str, number: int) -> str:
    """Return the id of a heading: of letters that every browser takes, and unlike any other of the page.

    >>> anchor("What sharing saves & costs", 3)
    's3-what-sharing-saves-costs'
    """
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in title.lower()).split()
    return "-".join([f"s{number}", *words[:6]])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_text_of),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sortable": sortable, "anchor": anchor, "uri": uri}
    return environment


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _text_of(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
