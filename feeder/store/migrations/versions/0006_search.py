"""A full-text index of what is published; no titles to search any more."""

import sqlalchemy as sa
from alembic import op

from feeder.store import search

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.drop_column("articles", "title")
    op.add_column("articles", sa.Column("number", sa.BigInteger))
    op.create_table(
        "search_numbers",
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("article", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_search_numbers"),
    )
    # "ascii" makes of ASCII what text.index_terms does, and leaves all else as it is: records.terms has taken it apart.
    op.execute(
        "CREATE VIRTUAL TABLE search_index USING fts5 (terms, content='', columnsize=0, detail=none, tokenize='ascii')"
    )
    op.execute("INSERT INTO search_index (search_index, rank) VALUES ('usermerge', 2)")  # for search.merge
    search.rebuild(op.get_bind())
