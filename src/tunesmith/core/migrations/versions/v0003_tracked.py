"""What other programs track here, and up to where other systems were told what ran here."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of tracked runs and models, and of cursors."""
    _runs()
    _logged()
    _models()


def _runs() -> None:
    op.create_table(
        "tracked_experiments",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("name"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tracked_runs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["tracked_experiments.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("tracked_runs_of", "tracked_runs", ["experiment", "started_ms"])
    op.create_table(
        "tracked_fields",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("what", sa.String(length=5), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "what", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tracked_points",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("is_nan", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", "step", "at_ms", "value", "is_nan"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tracked_latest",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("is_nan", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tracked_inputs",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.UniqueConstraint("run", "name", "digest"),
        sa.ForeignKeyConstraint(["run"], ["tracked_runs.id"]),
        sa.PrimaryKeyConstraint("id"),
    )


def _logged() -> None:
    op.create_table(
        "tracked_logged",
        sa.Column("id", sa.String(length=34), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["tracked_experiments.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tracked_logged_experiment", "tracked_logged", ["experiment"])
    op.create_table(
        "tracked_links",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=34), nullable=False),
        sa.Column("what", sa.String(length=6), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["tracked_runs.id"]),
        sa.ForeignKeyConstraint(["model"], ["tracked_logged.id"]),
        sa.PrimaryKeyConstraint("run", "model", "what"),
    )
    op.create_table(
        "tracked_artifacts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tracked_artifacts_sha256", "tracked_artifacts", ["sha256"])
    op.create_index("tracked_artifacts_of", "tracked_artifacts", ["owner", "path"])


def _models() -> None:
    op.create_table(
        "tracked_models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "tracked_versions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["name"], ["tracked_models.name"]),
        sa.PrimaryKeyConstraint("name", "number"),
    )
    op.create_table(
        "tracked_aliases",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(["name"], ["tracked_models.name"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tracked_aliases_name", "tracked_aliases", ["name"])
    op.create_table(
        "export_cursors",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("target"),
    )
