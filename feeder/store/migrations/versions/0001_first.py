"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("ctime_ns", sa.BigInteger, nullable=False),
        sa.Column("article", sa.Text),
        sa.Column("line", sa.Integer),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("path", name="pk_files"),
    )
    op.create_index("ix_files_article", "files", ["article"])

    op.create_table(
        "articles",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("announced", sa.Boolean, nullable=False),
        sa.Column("visible", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_articles"),
    )
    op.create_index("ix_articles_announced_live_published", "articles", ["announced", "live", "published"])

    op.create_table(
        "entries",
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("article", sa.Text, sa.ForeignKey("articles.id"), nullable=False),
        sa.PrimaryKeyConstraint("feed", "published", "article", name="pk_entries"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_entries_article", "entries", ["article"])

    op.create_table(
        "feeds",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("stale", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_feeds"),
    )
    op.create_index("ix_feeds_stale", "feeds", ["stale"])

    op.create_table(
        "documents",
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("feed", sa.Text),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_documents"),
    )
    op.create_index("ix_documents_feed", "documents", ["feed"])

    op.create_table(
        "targets",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("adopted_at", sa.BigInteger, nullable=False),
        sa.Column("off", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_targets"),
    )

    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("article", sa.Text, sa.ForeignKey("articles.id"), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("doubtful_since", sa.BigInteger),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("remote_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("article", "target", name="uq_deliveries_article_target"),
    )
    op.create_index("ix_deliveries_target_state_published", "deliveries", ["target", "state", "published"])

    op.create_table(
        "facts",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_facts"),
    )
