"""The tables. A change here needs a migration beside it (see CONTRIBUTING.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec import json

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
MICROSECONDS = 1_000_000  # in a second


def _to_database(value: datetime | None) -> int | None:
    return None if value is None else (value - _EPOCH) // _MICROSECOND


def _from_database(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + value * _MICROSECOND


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970 in UTC: exact, sortable and alike in every database."""

    impl = sa.BigInteger
    cache_ok = True

    def bind_processor(self, dialect: Any) -> Any:
        """What takes a value to the database."""
        return _to_database

    def result_processor(self, dialect: Any, coltype: object) -> Any:
        """What takes a value from the database."""
        return _from_database


class Names(sa.types.TypeDecorator[tuple[str, ...]]):
    """Names, kept as a JSON array."""

    impl = sa.Text
    cache_ok = True

    def bind_processor(self, dialect: Any) -> Any:
        """What takes a value to the database."""
        return _names_to_database

    def result_processor(self, dialect: Any, coltype: object) -> Any:
        """What takes a value from the database."""
        return _names_from_database


def _names_to_database(names: tuple[str, ...]) -> str:
    return json.encode(names).decode()


_names_from_database = json.Decoder(tuple[str, ...]).decode


_BAD = sa.text("problem IS NOT NULL")
_FRESH = sa.text("state = 'pending' AND attempts = 0")
_RETRIED = sa.text("state = 'pending' AND attempts > 0")

# What is known of each file of the source folder.
files = sa.Table(
    "files",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("ctime_ns", sa.BigInteger, nullable=False),
    sa.Column("article", sa.Text),  # what it held when it was last good; no foreign key: the article outlives it
    sa.Column("line", sa.Integer),
    sa.Column("problem", sa.Text),  # why it is no article now
    sa.Index(None, "article"),
    sa.Index("ix_files_bad", "path", sqlite_where=_BAD, postgresql_where=_BAD),  # few among many
)

# Every article ever seen; never deleted, so that what comes back is known.
articles = sa.Table(
    "articles",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),  # the file that speaks for it
    sa.Column("published", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),  # the last change that a reader would see
    sa.Column("live", sa.Boolean, nullable=False),  # a file holds it, and it is no draft that is kept out
    sa.Column("announced", sa.Boolean, nullable=False),  # its deliveries are planned; never again
    sa.Column("feeds", Names, nullable=False),  # the names of those that it stands in
    sa.Column("number", sa.BigInteger),  # in the search index; null: no search finds it
    sa.Column("record", sa.Text, nullable=False),  # the Article as JSON
    sa.Index(None, "announced", "live", "published"),
)

# The identities that articles once had beside their own (see `names`).
names = sa.Table(
    "names",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("article", sa.Text, nullable=False),  # its id; never one that is a name itself
)

# Which article a number of the search index stands for (see `search`).
search_numbers = sa.Table(
    "search_numbers",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("article", sa.Text, nullable=False),  # no foreign key and no index: its row says its number
)

# Which article stands in which feed, in the order of the feed.
entries = sa.Table(
    "entries",
    metadata,
    sa.Column("feed", sa.Text, nullable=False),
    sa.Column("published", Moment, nullable=False),
    sa.Column("article", sa.Text, nullable=False),  # no foreign key and no index: its row says where it stands
    sa.Column(
        "archive", sa.Integer, nullable=False
    ),  # the number of the archive that it stands in for ever; 0: none yet
    sa.PrimaryKeyConstraint("feed", "published", "article"),
    sa.Index(None, "feed", "archive"),
    sqlite_with_rowid=False,
)

# The feeds that there are; `stale` ones are rebuilt by the pass that marked them, or by the next one after a crash.
feeds = sa.Table(
    "feeds",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("stale", sa.Boolean, nullable=False),
    sa.Column("archives", sa.Integer, nullable=False),  # how many are full
    sa.Column("emptied", Moment),  # since when it is published without entries; null: it has some, or is not published
    sa.Column("configured", sa.Boolean, nullable=False),  # the settings had it when it last had entries
    sa.Index(None, "stale"),
)

# The archives that must be built, again or for the first time.
stale_archives = sa.Table(
    "stale_archives",
    metadata,
    sa.Column("feed", sa.Text, nullable=False),
    sa.Column("archive", sa.Integer, nullable=False),
    sa.PrimaryKeyConstraint("feed", "archive"),
)

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("feed", sa.Text),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),  # of the body: its ETag
    sa.Column("modified", Moment, nullable=False),  # whole seconds; moves forward with every change of the body
    sa.Column("gzip", sa.LargeBinary, nullable=False),  # the body, compressed
    sa.Column("moved_to", sa.Text),  # null: it is here; empty: it is gone; else the path that it moved to
    sa.Index(None, "feed"),
    sa.Index(None, "moved_to", "path", "modified"),  # what a start wants to know of each, without what it holds
)

targets = sa.Table(
    "targets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("adopted_at", Moment, nullable=False),
    sa.Column("off", sa.Text, nullable=False),
)

# The outbox.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),  # an article's id, or a document's path and digest
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("published", Moment, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("next_at", Moment, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("doubtful_since", Moment),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("remote_id", sa.Text, nullable=False),
    sa.UniqueConstraint("subject", "target"),
    sa.Index(None, "target", "state", "published"),
    # What is due is found among any number that waits without a look at the others.
    sa.Index("ix_deliveries_fresh", "target", "published", "id", sqlite_where=_FRESH, postgresql_where=_FRESH),
    sa.Index("ix_deliveries_retried", "target", "next_at", sqlite_where=_RETRIED, postgresql_where=_RETRIED),
)

# One row a fact about the store itself: the last pass, what the documents were built with.
facts = sa.Table(
    "facts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
