"""Schedules: the slots that came due, and what became of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of slots."""
    op.create_table(
        "slots",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("slot", sa.String(length=24), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.String(length=24), nullable=False),
        sa.Column("started_at", sa.String(length=24), nullable=False),
        sa.Column("finished_at", sa.String(length=24), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("runs", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "slot"),
    )
    op.create_index(
        "one_slot",
        "slots",
        ["schedule"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
