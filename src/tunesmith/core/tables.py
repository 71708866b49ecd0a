"""The tables, as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    # The id is also the fencing token: a later attempt at the same key has a larger one.
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String(64), nullable=False, index=True),
    sa.Column("step", sa.Text, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("identity", sa.Text, nullable=False),  # canonical JSON of what the key hashes
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("lease_until", sa.String(24), nullable=False),
    sa.Column("started_at", sa.String(24), nullable=False),
    sa.Column("finished_at", sa.String(24)),
    sa.Column("output", sa.String(64)),  # digest of the record
    sa.Column("error", sa.Text),
    sa.Column("usage", sa.Text),
    sa.Column("forecast", sa.Text),
    sqlite_autoincrement=True,
)
# Of one key there is at most one attempt at a time, whatever the clients believe.
sa.Index(
    "one_attempt",
    runs.c.key,
    unique=True,
    sqlite_where=runs.c.status == "running",
    postgresql_where=runs.c.status == "running",
)

run_blobs = sa.Table(
    "run_blobs",
    metadata,
    sa.Column("run_id", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("num_bytes", sa.BigInteger, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
)

run_inputs = sa.Table(
    "run_inputs",
    metadata,
    sa.Column("run_id", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
)

metrics = sa.Table(
    "metrics",
    metadata,
    sa.Column("run_id", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("value", sa.Float, nullable=False),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("run_id", sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("created_at", sa.String(24), nullable=False),
    sa.UniqueConstraint("kind", "name", "digest"),
)

aliases = sa.Table(
    "aliases",  # a history: the newest row of an alias is where it points
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("alias", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("run_id", sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("at", sa.String(24), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(24), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # canonical JSON
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
)

traces = sa.Table(
    "traces",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.String(24), nullable=False),
    sa.Column("service", sa.Text, nullable=False, index=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("traffic", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("num_prompt_tokens", sa.Integer, nullable=False),
    sa.Column("num_answer_tokens", sa.Integer, nullable=False),
    sa.Column("wall_s", sa.Float, nullable=False),
    sa.Column("finish_reason", sa.String(8), nullable=False),
    sqlite_autoincrement=True,
)

slots = sa.Table(
    "slots",  # see core/slots.py
    metadata,
    sa.Column("schedule", sa.Text, primary_key=True),
    sa.Column("slot", sa.String(24), primary_key=True),
    sa.Column("cron", sa.Text, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    # Also the fencing token: whoever fires a slot again has a larger one.
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("lease_until", sa.String(24), nullable=False),
    sa.Column("started_at", sa.String(24), nullable=False),
    sa.Column("finished_at", sa.String(24)),
    sa.Column("exit_code", sa.Integer),
    sa.Column("runs", sa.Text, nullable=False),  # JSON: ids
)
# Of one schedule there is at most one slot at a time, whatever the tickers believe.
sa.Index(
    "one_slot",
    slots.c.schedule,
    unique=True,
    sqlite_where=slots.c.state == "running",
    postgresql_where=slots.c.state == "running",
)
