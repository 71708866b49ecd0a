"""The tables, as the newest migration leaves them.

What a server is told besides is in the migrations alone: an option of its dialect would load that
here, at the start of every command.
"""

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
)

# What other programs track here, as MLflow's clients send it: see core/tracked. An owner is the id
# of a run or of a logged model, or "experiment/3", "model/NAME", "version/3/NAME".

tracked_experiments = sa.Table(
    "tracked_experiments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("stage", sa.String(8), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

tracked_runs = sa.Table(
    "tracked_runs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("experiment", sa.ForeignKey("tracked_experiments.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("stage", sa.String(8), nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("started_ms", sa.BigInteger, nullable=False),  # the client's clock says so
    sa.Column("ended_ms", sa.BigInteger),
    sa.Column("at", sa.String(24), nullable=False),  # the database's clock: when it came here
    sa.Index("tracked_runs_of", "experiment", "started_ms"),
)

tracked_fields = sa.Table(
    "tracked_fields",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("what", sa.String(5), primary_key=True),  # tag, param or last (version's number)
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

tracked_points = sa.Table(
    "tracked_points",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, primary_key=True),
    sa.Column("value", sa.Float, primary_key=True),
    sa.Column("is_nan", sa.Integer, primary_key=True),  # SQLite has no NaN
    sqlite_with_rowid=False,
)

tracked_latest = sa.Table(
    "tracked_latest",  # of each curve the last point, which listings show and search
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("is_nan", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

tracked_inputs = sa.Table(
    "tracked_inputs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run", sa.ForeignKey("tracked_runs.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),  # JSON, as it came
    sa.UniqueConstraint("run", "name", "digest"),
)

tracked_logged = sa.Table(
    "tracked_logged",  # models that were logged, whether they are registered or not
    metadata,
    sa.Column("id", sa.String(34), primary_key=True),
    sa.Column("experiment", sa.ForeignKey("tracked_experiments.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("run", sa.String(32), nullable=False),  # empty where none made it
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("stage", sa.String(8), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
)

tracked_links = sa.Table(
    "tracked_links",
    metadata,
    sa.Column("run", sa.ForeignKey("tracked_runs.id"), primary_key=True),
    sa.Column("model", sa.ForeignKey("tracked_logged.id"), primary_key=True),
    sa.Column("what", sa.String(6), primary_key=True),  # input or output
    sa.Column("step", sa.BigInteger, nullable=False),
)

tracked_artifacts = sa.Table(
    "tracked_artifacts",  # appended to: of one path the newest row counts, and no bytes are lost
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("num_bytes", sa.BigInteger, nullable=False),
    sa.Column("at", sa.String(24), nullable=False),
    sa.Index("tracked_artifacts_of", "owner", "path"),
)

tracked_models = sa.Table(
    "tracked_models",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
)

tracked_versions = sa.Table(
    "tracked_versions",
    metadata,
    sa.Column("name", sa.ForeignKey("tracked_models.name"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.Text, nullable=False),  # whose artefacts they are ...
    sa.Column("path", sa.Text, nullable=False),  # ... and under which path
    sa.Column("digest", sa.String(64), nullable=False),  # of the tree, when it was registered
    sa.Column("run", sa.String(32), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
)

tracked_aliases = sa.Table(
    "tracked_aliases",  # a history, as `aliases` is; number 0 took the alias away
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.ForeignKey("tracked_models.name"), nullable=False, index=True),
    sa.Column("alias", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at", sa.String(24), nullable=False),
)

export_cursors = sa.Table(
    "export_cursors",  # up to which entry of the evidence another system was told
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("at", sa.String(24), nullable=False),
)
