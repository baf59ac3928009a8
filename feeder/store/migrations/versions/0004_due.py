"""What is due is found by indexes: what was never tried in order of publication, what was by the time of its next try."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    fresh = sa.text("state = 'pending' AND attempts = 0")
    retried = sa.text("state = 'pending' AND attempts > 0")
    for name, columns, where in (
        ("ix_deliveries_fresh", ["target", "published", "id"], fresh),
        ("ix_deliveries_retried", ["target", "next_at"], retried),
    ):
        op.create_index(name, "deliveries", columns, sqlite_where=where, postgresql_where=where)
