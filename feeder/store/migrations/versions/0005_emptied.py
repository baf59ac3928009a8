"""A feed that has become empty stays published: since when it is, and whether the settings had it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("feeds", sa.Column("emptied", sa.BigInteger))
    op.add_column("feeds", sa.Column("configured", sa.Boolean, nullable=False, server_default=sa.false()))
