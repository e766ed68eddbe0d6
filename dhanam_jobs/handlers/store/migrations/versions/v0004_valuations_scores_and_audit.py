"""What things are worth by day, login sessions, and the audit log.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

from dhanam_jobs.handlers.store.columns import Money, UtcMoment, id_type, json_type
from dhanam_jobs.handlers.store.valuation_tables import Exact

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "asset_valuations",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("account_id", id_type(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("value", Money(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_asset_valuations"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_asset_valuations_account_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("account_id", "date", name="uq_asset_valuations_account_id_date"),
    )
    op.create_table(
        "exchange_rates",
        sa.Column("from_currency", sa.Text(), nullable=False),
        sa.Column("to_currency", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("is_demo", sa.Boolean(), nullable=False),
        sa.Column("rate", Exact(19, 8), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("from_currency", "to_currency", "date", "is_demo", name="pk_exchange_rates"),
    )
    op.create_table(
        "esg_scores",
        sa.Column("asset_symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("environmental_score", Exact(5, 2), nullable=False),
        sa.Column("social_score", Exact(5, 2), nullable=False),
        sa.Column("governance_score", Exact(5, 2), nullable=False),
        sa.Column("composite_score", Exact(5, 2), nullable=False),
        sa.Column("confidence", Exact(5, 2), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("calculated_at", UtcMoment(), nullable=False),
        sa.Column("fetched_at", UtcMoment(), nullable=False),
        sa.Column("metadata", json_type()),
        sa.PrimaryKeyConstraint("asset_symbol", "date", name="pk_esg_scores"),
    )
    op.create_index("ix_esg_scores_fetched_at", "esg_scores", ["fetched_at"])
    op.create_table(
        "sessions",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("user_id", id_type(), nullable=False),
        sa.Column("token_family", sa.Text(), nullable=False),
        sa.Column("refresh_token_hash", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcMoment(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("token_family", name="uq_sessions_token_family"),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "audit_logs",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", id_type(), nullable=False),
        sa.Column("user_id", id_type()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text()),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("timestamp", UtcMoment(), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_logs"),
        sa.UniqueConstraint("id", name="uq_audit_logs_id"),
    )
    op.create_index("ix_audit_logs_timestamp", "audit_logs", ["timestamp"])
    op.create_index("ix_audit_logs_user_id", "audit_logs", ["user_id"])
