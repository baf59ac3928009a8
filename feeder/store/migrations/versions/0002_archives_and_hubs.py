"""Archives, compressed documents that may be gone or moved, deliveries to hubs, titles to search."""

import gzip

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("articles", sa.Column("title", sa.Text, nullable=False, server_default=""))
    op.add_column("entries", sa.Column("archive", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_entries_feed_archive", "entries", ["feed", "archive"])
    op.add_column("feeds", sa.Column("archives", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "stale_archives",
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("archive", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("feed", "archive", name="pk_stale_archives"),
    )
    _compress_documents()
    _free_deliveries()
    # Every article is read again, and so gets the title that a search compares.
    op.execute("UPDATE files SET size = -1")


def _compress_documents() -> None:
    connection = op.get_bind()
    op.add_column("documents", sa.Column("gzip", sa.LargeBinary, nullable=False, server_default=""))
    op.add_column("documents", sa.Column("moved_to", sa.Text))
    documents = sa.table("documents", sa.column("path"), sa.column("body"), sa.column("gzip"))
    for path in connection.execute(sa.select(documents.c.path)).scalars().all():
        body = connection.execute(sa.select(documents.c.body).where(documents.c.path == path)).scalar_one()
        packed = gzip.compress(bytes(body), mtime=0)
        connection.execute(sa.update(documents).where(documents.c.path == path).values(gzip=packed))
    op.drop_column("documents", "body")


def _free_deliveries() -> None:
    """A delivery may be about something else than an article."""
    columns = "id, {subject}, target, published, state, next_at, attempts, doubtful_since, last_error, remote_id"
    op.rename_table("deliveries", "deliveries_1")
    op.drop_index("ix_deliveries_target_state_published", "deliveries_1")
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("doubtful_since", sa.BigInteger),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("remote_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("subject", "target", name="uq_deliveries_subject_target"),
    )
    op.create_index("ix_deliveries_target_state_published", "deliveries", ["target", "state", "published"])
    op.execute(
        f"INSERT INTO deliveries ({columns.format(subject='subject')}) "
        f"SELECT {columns.format(subject='article')} FROM deliveries_1"
    )
    op.drop_table("deliveries_1")
