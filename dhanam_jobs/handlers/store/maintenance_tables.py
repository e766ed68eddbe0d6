"""The tables that maintenance looks after: login sessions, and the log of what was done to whom."""

from __future__ import annotations

import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import UtcMoment, id_type
from dhanam_jobs.handlers.store.schema import metadata

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", id_type(), primary_key=True),
    sa.Column("user_id", id_type(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("token_family", sa.Text, nullable=False, unique=True),
    sa.Column("refresh_token_hash", sa.Text, nullable=False),
    sa.Column("expires_at", UtcMoment(), nullable=False, index=True),
    sa.Column("created_at", UtcMoment(), nullable=False),
    sa.Column("updated_at", UtcMoment(), nullable=False),
)

# No foreign keys: an entry outlives whom and what it speaks of. `hash` covers the row and the hash of the one before.
audit_logs = sa.Table(
    "audit_logs",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", id_type(), nullable=False, unique=True),
    sa.Column("user_id", id_type(), index=True),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("resource_id", sa.Text),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("timestamp", UtcMoment(), nullable=False, index=True),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)
