"""Connections to providers, their health, and how far chains were read.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

from dhanam_jobs.handlers.store.columns import UtcMoment, id_type, json_type

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "provider_connections",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("user_id", id_type(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_user_id", sa.Text(), nullable=False),
        sa.Column("encrypted_token", sa.Text(), nullable=False),
        sa.Column("metadata", json_type()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("failed_at", UtcMoment()),
        sa.Column("rate_limited_until", UtcMoment()),
        sa.Column("last_synced_at", UtcMoment()),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_provider_connections"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_provider_connections_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint(
            "user_id", "provider", "provider_user_id", name="uq_provider_connections_user_id_provider_provider_user_id"
        ),
    )
    op.create_index("ix_provider_connections_provider", "provider_connections", ["provider"])
    op.create_table(
        "connections",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("account_id", id_type(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("metadata", json_type()),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_connections_account_id", ondelete="CASCADE"),
        sa.UniqueConstraint("account_id", name="uq_connections_account_id"),
    )
    op.create_table(
        "connection_attempts",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("connection_id", id_type()),
        sa.Column("account_id", id_type()),
        sa.Column("space_id", id_type()),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("attempt_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_message", sa.Text()),
        sa.Column("response_time_ms", sa.Integer()),
        sa.Column("attempted_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_connection_attempts"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_connection_attempts_account_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["provider_connections.id"],
            name="fk_connection_attempts_connection_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["space_id"], ["spaces.id"], name="fk_connection_attempts_space_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_connection_attempts_account_id", "connection_attempts", ["account_id"])
    op.create_index("ix_connection_attempts_attempted_at", "connection_attempts", ["attempted_at"])
    op.create_index("ix_connection_attempts_connection_id", "connection_attempts", ["connection_id"])
    op.create_index("ix_connection_attempts_space_id", "connection_attempts", ["space_id"])
    op.create_table(
        "provider_health_status",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_rate", sa.Float(), nullable=False),
        sa.Column("avg_response_time_ms", sa.Integer(), nullable=False),
        sa.Column("successful_calls", sa.Integer(), nullable=False),
        sa.Column("failed_calls", sa.Integer(), nullable=False),
        sa.Column("last_success_at", UtcMoment()),
        sa.Column("last_failure_at", UtcMoment()),
        sa.Column("last_error", sa.Text()),
        sa.Column("circuit_breaker_open", sa.Boolean(), nullable=False),
        sa.Column("opened_at", UtcMoment()),
        sa.Column("probe_until", UtcMoment()),
        sa.Column("probes_passed", sa.Integer(), nullable=False),
        sa.Column("window_start_at", UtcMoment(), nullable=False),
        sa.Column("last_health_check_at", UtcMoment(), nullable=False),
        sa.Column("rate_limited", sa.Boolean(), nullable=False),
        sa.Column("rate_limit_reset_at", UtcMoment()),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "region", name="pk_provider_health_status"),
    )
    op.create_table(
        "chain_scans",
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("next_block", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("network", name="pk_chain_scans"),
    )
