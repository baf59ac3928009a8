"""Pages for people. The only home of Jinja2."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from feeder.feeds import content
from feeder.models import Document, Feed, Site

INDEX = "index.html"


def index(latest: Feed, titles: Mapping[str, str], site: Site) -> Document:
    """The page that lists every feed. `latest` is the feed of all articles, `titles` the feeds' titles by name."""
    names = [name for name in titles if name != latest.name]
    page = (
        _templates()
        .get_template("index.html")
        .render(
            site=site,
            latest=latest,
            feeds=[
                Feed(name=name, title=titles[name], entries=())
                for name in sorted(names, key=lambda name: titles[name].casefold())
            ],
            formats=content.FORMATS,
            path=content.feed_path,
            title=content.feed_title,
        )
    )
    return Document(path=INDEX, content_type="text/html; charset=utf-8", body=page.encode())


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("feeder.feeds"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
