"""Alembic runs this; the connection, already in a transaction, comes from `migrate`."""

from alembic import context

from tunesmith.core.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
