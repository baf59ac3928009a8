"""The identities that articles once had: they stay their names, so that a link which changes tells nobody anew.

A known file whose identity is another one than before, and of which nobody else knows, holds the same article if its
title is alike; so archives switch an article's link between those who syndicate it, and back. Every function works within
the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import sqlalchemy as sa
from msgspec.structs import replace

from feeder import identity
from feeder.models import Article
from feeder.records import Record, from_text, record
from feeder.store.keys import among, insert
from feeder.store.tables import articles, names


def renamed(found: Record, ids: Mapping[str, str]) -> Record:
    """A record under the id of its article, where `ids` has another one than it has."""
    article_id = ids.get(found.id, found.id)
    return found if found.id == article_id else record(replace(found.article, id=article_id), found.feeds)


def known(connection: sa.Connection, identities: Collection[str]) -> dict[str, str]:
    """The ids of the articles that once had `identities`."""
    if connection.execute(sa.select(names.c.name).limit(1)).first() is None:
        return {}
    return dict(among(connection, sa.select(names.c.name, names.c.article), names.c.name, identities))


def learn(connection: sa.Connection, held: Mapping[str, str | None], found: Mapping[str, Record]) -> dict[str, str]:
    """The ids of the articles that files hold, by the identities that the files give, where these are others.

    `found` are the records of files by their paths, `held` the ids of the articles that they held before.
    """
    ids = known(connection, {each.id for each in found.values()})
    changed = {
        path: before
        for path, before in sorted(held.items())
        if before and path in found and found[path].id != before and found[path].id not in ids
    }
    others = _articles(connection, {found[path].id for path in changed})
    earlier = _articles(connection, changed.values())
    new: dict[str, str] = {}
    for path, before in changed.items():
        now = found[path]
        if now.id not in others and before in earlier and _is_same(connection, earlier[before], now):
            new.setdefault(now.id, before)
    insert(connection, names, ("name", "article"), sorted(new.items()))
    return ids | new


def _is_same(connection: sa.Connection, before: Article, after: Record) -> bool:
    """Whether a file holds the article `before` still; not where its author gave it another `id` than it had."""
    by_link = identity.of_link(before.url, before.source_url)
    was_by_link = by_link == before.id or known(connection, [by_link]).get(by_link) == before.id
    is_by_link = after.id == identity.of_link(after.article.url, after.article.source_url)
    return (was_by_link or is_by_link) and identity.is_alike(before.title, after.article.title)


def _articles(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Article]:
    query = sa.select(articles.c.id, articles.c.record)
    return {row.id: from_text(row.record) for row in among(connection, query, articles.c.id, ids)}
