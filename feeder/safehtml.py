"""HTML that is safe in any reader. The only home of nh3."""

from __future__ import annotations

from typing import Any

import nh3

from feeder.text import legal

_TAGS = nh3.ALLOWED_TAGS - {"area", "map", "nav", "header", "footer", "hgroup", "center", "article", "aside"}
_ATTRIBUTES = {
    "a": {"href", "hreflang", "title"},
    "abbr": {"title"},
    "bdo": {"dir"},
    "blockquote": {"cite"},
    "del": {"cite", "datetime"},
    "img": {"alt", "height", "src", "title", "width"},
    "ins": {"cite", "datetime"},
    "ol": {"start"},
    "q": {"cite"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "time": {"datetime"},
}


def sanitise(html: str, base: str) -> str:
    """What is harmless of `html`: no script, style, frame, form or event handler, and only http(s) links.

    Relative links are resolved against `base`; where that is no address to the WHATWG's URL standard, which knows fewer hosts
    than RFC 3986, they are left out. So is what XML cannot hold, which may have been written as an entity (``&#1;``).
    """
    try:
        return _cleaned(html, ("rewrite_with_base", base))
    except ValueError:
        return _cleaned(html, "deny")


def _cleaned(html: str, relative: Any) -> str:
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https"},
        url_relative=relative,
        link_rel=None,
    )
    return legal(clean).strip()
