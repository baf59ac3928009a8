"""An article's row says where it stands, so that nothing looks entries up by article; no digests of what a reader sees."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.drop_column("articles", "visible")
    op.add_column("articles", sa.Column("feeds", sa.Text, nullable=False, server_default="[]"))
    connection = op.get_bind()
    stands: dict[str, list[str]] = {}
    for article, feed in connection.execute(sa.text("SELECT article, feed FROM entries")):
        stands.setdefault(article, []).append(feed)
    if stands:
        rows = [{"id": article, "feeds": json.dumps(feeds)} for article, feeds in stands.items()]
        connection.execute(sa.text("UPDATE articles SET feeds = :feeds WHERE id = :id"), rows)
    _free_entries()
    op.create_index("ix_files_bad", "files", ["path"], sqlite_where=sa.text("problem IS NOT NULL"))
    op.create_index("ix_documents_moved_to_path_modified", "documents", ["moved_to", "path", "modified"])


def _free_entries() -> None:
    """Entries without a foreign key, which takes another table in SQLite."""
    op.rename_table("entries", "entries_2")
    op.drop_index("ix_entries_article", "entries_2")
    op.drop_index("ix_entries_feed_archive", "entries_2")
    op.create_table(
        "entries",
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("article", sa.Text, nullable=False),
        sa.Column("archive", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("feed", "published", "article", name="pk_entries"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO entries (feed, published, article, archive) "
        "SELECT feed, published, article, archive FROM entries_2 ORDER BY feed, published, article"
    )
    op.drop_table("entries_2")
    op.create_index("ix_entries_feed_archive", "entries", ["feed", "archive"])
