"""Alembic's entry point; `feeder.store` hands in the connection."""

from alembic import context

from feeder.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller holds one transaction over all of it
)
context.run_migrations()
