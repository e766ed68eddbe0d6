"""The tables of connections to providers: whose they are, how they fare, and how far chains were read."""

from __future__ import annotations

import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import UtcMoment, id_type, json_type
from dhanam_jobs.handlers.store.schema import metadata


def _stamps() -> list[sa.Column[object]]:
    return [sa.Column(name, UtcMoment(), nullable=False) for name in ("created_at", "updated_at")]


# A user's link to a provider. `updated_at` moves with successful syncs and with a person's changes, not with failures:
# a connection that only fails grows stale.
provider_connections = sa.Table(
    "provider_connections",
    metadata,
    sa.Column("id", id_type(), primary_key=True),
    sa.Column("user_id", id_type(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("provider_user_id", sa.Text, nullable=False),
    sa.Column("encrypted_token", sa.Text, nullable=False),
    sa.Column("metadata", json_type()),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("error_code", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("failed_at", UtcMoment()),
    sa.Column("rate_limited_until", UtcMoment()),
    sa.Column("last_synced_at", UtcMoment()),
    *_stamps(),
    sa.UniqueConstraint("user_id", "provider", "provider_user_id"),
    sa.Index("ix_provider_connections_provider", "provider"),
)

# The state of each account's feed, as a person sees it.
account_connections = sa.Table(
    "connections",
    metadata,
    sa.Column("id", id_type(), primary_key=True),
    sa.Column("account_id", id_type(), sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, unique=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("metadata", json_type()),
    *_stamps(),
)

connection_attempts = sa.Table(
    "connection_attempts",
    metadata,
    sa.Column("id", id_type(), primary_key=True),
    sa.Column("connection_id", id_type(), sa.ForeignKey("provider_connections.id", ondelete="CASCADE"), index=True),
    sa.Column("account_id", id_type(), sa.ForeignKey("accounts.id", ondelete="CASCADE"), index=True),
    sa.Column("space_id", id_type(), sa.ForeignKey("spaces.id", ondelete="CASCADE"), index=True),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("attempt_type", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("response_time_ms", sa.Integer),
    sa.Column("attempted_at", UtcMoment(), nullable=False, index=True),
)

# The circuit breaker of a provider in a region. The counts are those of the window that began at `window_start_at`;
# `opened_at`, `probe_until` and `probes_passed` carry an open circuit through its half-open time.
provider_health_status = sa.Table(
    "provider_health_status",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("region", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("error_rate", sa.Float, nullable=False),
    sa.Column("avg_response_time_ms", sa.Integer, nullable=False),
    sa.Column("successful_calls", sa.Integer, nullable=False),
    sa.Column("failed_calls", sa.Integer, nullable=False),
    sa.Column("last_success_at", UtcMoment()),
    sa.Column("last_failure_at", UtcMoment()),
    sa.Column("last_error", sa.Text),
    sa.Column("circuit_breaker_open", sa.Boolean, nullable=False),
    sa.Column("opened_at", UtcMoment()),
    sa.Column("probe_until", UtcMoment()),
    sa.Column("probes_passed", sa.Integer, nullable=False),
    sa.Column("window_start_at", UtcMoment(), nullable=False),
    sa.Column("last_health_check_at", UtcMoment(), nullable=False),
    sa.Column("rate_limited", sa.Boolean, nullable=False),
    sa.Column("rate_limit_reset_at", UtcMoment()),
    *_stamps(),
)

# How far a chain that has no history by address was read, one row per chain.
chain_scans = sa.Table(
    "chain_scans",
    metadata,
    sa.Column("network", sa.Text, primary_key=True),
    sa.Column("next_block", sa.BigInteger, nullable=False),
    *_stamps(),
)
