"""Articles whose files are all gone, before they are withdrawn: a mount that is not there looks like a thousand deletions.

    gone files ─▶ orphaned (which live articles would lose their last one) ─▶ is_suspicious ─┬─▶ no: withdrawn
                                                                                            └─▶ yes: held, noted, said

What is held stays published until the files are back, or until a person accepts that they are gone. What waits for its time
is not held: nobody misses it, and it must not come out without a file. Every function but the pure ones works within the
caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct, json

from feeder.store import fact, set_fact
from feeder.store.keys import among
from feeder.store.tables import articles, files

_MISSING = "missing"
_ACCEPTED = "accepted_deletions"
_FEW = 10  # articles that may always go at once
_SHARE = 5  # or one in so many, where that is more


class Missing(Struct, frozen=True, kw_only=True):
    """Articles that stay published though no file holds them any more."""

    articles: int
    of: int  # live articles before
    since: datetime

    def as_data(self) -> dict[str, Any]:
        """This as plain data."""
        since = self.since.isoformat(timespec="seconds")
        return {"articles": self.articles, "of": self.of, "since": since, "said": str(self)}

    def __str__(self) -> str:
        return (
            f"{self.articles:,} of {self.of:,} articles have had no file since {self.since.isoformat(timespec='seconds')} "
            "and stay published; put the files back, or run `feeder once --accept-deletions`"
        )


def is_suspicious(orphaned: int, live: int, max_gone: int) -> bool:
    """Whether so many of the `live` articles cannot have been deleted on purpose: all of several, or more than `max_gone`.

    0 for `max_gone` stands for 10 articles or a fifth of them, whichever is more.
    """
    all_of_several = orphaned >= live > 1
    return orphaned > 0 and (all_of_several or orphaned > (max_gone or max(_FEW, live // _SHARE)))


def _is_out(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(articles.c.live, articles.c.published <= now)


def live(connection: sa.Connection, now: datetime) -> int:
    """How many articles are published at `now`."""
    either = articles.c.announced.in_([True, False])  # so that the index leads to them
    query = sa.select(sa.func.count()).select_from(articles).where(either, _is_out(now))
    return connection.execute(query).scalar_one()


def orphaned(
    connection: sa.Connection, gone: Collection[str], held: Collection[str], now: datetime
) -> dict[str, list[str]]:
    """The articles published at `now` that no file would hold without those at `gone`, with those of `gone` that held them.

    `held` are the ids of articles that files hold which are about to be written.
    """
    paths: dict[str, list[str]] = {}
    for path, article in among(connection, sa.select(files.c.path, files.c.article), files.c.path, gone):
        if article is not None and article not in held:
            paths.setdefault(article, []).append(path)
    missing = set(gone)
    for path, article in among(connection, sa.select(files.c.path, files.c.article), files.c.article, paths):
        if path not in missing:
            paths.pop(article, None)
    out = among(connection, sa.select(articles.c.id).where(_is_out(now)), articles.c.id, paths)
    return {row.id: paths[row.id] for row in out}


def judge(
    connection: sa.Connection,
    gone: frozenset[str],
    held: Collection[str],
    *,
    before: int,
    max_gone: int,
    accept: bool,
    now: datetime,
) -> frozenset[str]:
    """Those of the files at `gone` that are to be taken for deleted. Others hold what is noted as missing.

    `before` is how many articles were published, `held` the ids of those in files that are about to be written; `accept`
    says that a person wants all of it deleted.
    """
    found = orphaned(connection, gone, held, now)
    number = len(found)
    if accept or number <= accepted(connection) or not is_suspicious(number, before, max_gone):
        settle(connection)
        return gone
    note(connection, number, before, now)
    return gone.difference(*found.values())


# --- what is remembered ---------------------------------------------------------------------------------------------------


def noted(connection: sa.Connection) -> Missing | None:
    """What is held."""
    written = fact(connection, _MISSING)
    return json.decode(written, type=Missing) if written else None


def note(connection: sa.Connection, number: int, of: int, now: datetime) -> Missing:
    """Remember that so many articles are held, since now unless some were before."""
    before = noted(connection)
    made = Missing(articles=number, of=of, since=before.since if before else now)
    set_fact(connection, _MISSING, json.encode(made).decode())
    return made


def settle(connection: sa.Connection) -> None:
    """Nothing is held any more, and nothing accepted."""
    for name in (_MISSING, _ACCEPTED):
        if fact(connection, name):
            set_fact(connection, name, "")


def accept(connection: sa.Connection) -> Missing | None:
    """Leave word that what is held now is to be withdrawn by the next pass over the whole folder; what that is."""
    found = noted(connection)
    if found is not None:
        set_fact(connection, _ACCEPTED, str(found.articles))
    return found


def accepted(connection: sa.Connection) -> int:
    """Of how many articles at most a person accepts that they are gone: of no more than were held then."""
    return int(fact(connection, _ACCEPTED) or 0)
