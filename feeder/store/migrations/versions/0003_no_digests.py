"""What a reader sees of an article is compared with what it was, not with a digest of it."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.drop_column("articles", "visible")
