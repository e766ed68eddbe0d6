"""People, spaces, accounts, budgets, transactions and rules.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

from dhanam_jobs.handlers.store.columns import Money, UtcMoment, id_type, json_type

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "spaces",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("is_demo", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.Column("deleted_at", UtcMoment()),
        sa.PrimaryKeyConstraint("id", name="pk_spaces"),
    )
    op.create_table(
        "store_info",
        sa.Column("singleton", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("singleton", name="pk_store_info"),
    )
    op.create_table(
        "users",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("subscription_tier", sa.Text(), nullable=False),
        sa.Column("last_login_at", UtcMoment()),
        sa.Column("last_activity_at", UtcMoment()),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.Column("deleted_at", UtcMoment()),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    op.create_index("ix_users_last_login_at", "users", ["last_login_at"])
    op.create_table(
        "accounts",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("space_id", id_type(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_account_id", sa.Text()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subtype", sa.Text()),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("balance", Money(), nullable=False),
        sa.Column("ownership", sa.Text(), nullable=False),
        sa.Column("owner_id", id_type()),
        sa.Column("encrypted_credentials", json_type()),
        sa.Column("metadata", json_type()),
        sa.Column("last_synced_at", UtcMoment()),
        sa.Column("liability_type", sa.Text()),
        sa.Column("apr", Money()),
        sa.Column("minimum_payment", Money()),
        sa.Column("next_payment_due_date", sa.Date()),
        sa.Column("last_payment_amount", Money()),
        sa.Column("last_payment_date", sa.Date()),
        sa.Column("is_overdue", sa.Boolean()),
        sa.Column("credit_limit", Money()),
        sa.Column("origination_date", sa.Date()),
        sa.Column("original_principal", Money()),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.Column("deleted_at", UtcMoment()),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_accounts_owner_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_accounts_space_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint(
            "space_id",
            "provider",
            "provider_account_id",
            name="uq_accounts_space_id_provider_provider_account_id",
        ),
    )
    op.create_index("ix_accounts_owner_id", "accounts", ["owner_id"])
    op.create_table(
        "budgets",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("space_id", id_type(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_budgets_space_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
    )
    op.create_index("ix_budgets_space_id", "budgets", ["space_id"])
    op.create_table(
        "user_preferences",
        sa.Column("user_id", id_type(), nullable=False),
        sa.Column("email_notifications", sa.Boolean(), nullable=False),
        sa.Column("push_notifications", sa.Boolean(), nullable=False),
        sa.Column("weekly_reports", sa.Boolean(), nullable=False),
        sa.Column("monthly_reports", sa.Boolean(), nullable=False),
        sa.Column("auto_categorize_txns", sa.Boolean(), nullable=False),
        sa.Column("export_format", sa.Text(), nullable=False),
        sa.Column("default_currency", sa.Text(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_preferences_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="pk_user_preferences"),
    )
    op.create_table(
        "user_spaces",
        sa.Column("user_id", id_type(), nullable=False),
        sa.Column("space_id", id_type(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_user_spaces_space_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_spaces_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "space_id", name="pk_user_spaces"),
    )
    op.create_index("ix_user_spaces_space_id", "user_spaces", ["space_id"])
    op.create_table(
        "categories",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("budget_id", id_type(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_income", sa.Boolean(), nullable=False),
        sa.Column("budgeted_amount", Money(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name="fk_categories_budget_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_categories"),
        sa.UniqueConstraint("budget_id", "name", name="uq_categories_budget_id_name"),
    )
    op.create_table(
        "transaction_rules",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("space_id", id_type(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("conditions", json_type(), nullable=False),
        sa.Column("category_id", id_type()),
        sa.Column("actions", json_type()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name="fk_transaction_rules_category_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_transaction_rules_space_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_transaction_rules"),
    )
    op.create_index("ix_transaction_rules_category_id", "transaction_rules", ["category_id"])
    op.create_index("ix_transaction_rules_space_id_enabled", "transaction_rules", ["space_id", "enabled"])
    op.create_table(
        "transactions",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("account_id", id_type(), nullable=False),
        sa.Column("provider_transaction_id", sa.Text()),
        sa.Column("amount", Money(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("merchant", sa.Text()),
        sa.Column("category_id", id_type()),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("reviewed", sa.Boolean(), nullable=False),
        sa.Column("exclude_from_totals", sa.Boolean(), nullable=False),
        sa.Column("metadata", json_type()),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.Column("updated_at", UtcMoment(), nullable=False),
        sa.Column("deleted_at", UtcMoment()),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_transactions_account_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name="fk_transactions_category_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_transactions"),
        sa.UniqueConstraint(
            "account_id", "provider_transaction_id", name="uq_transactions_account_id_provider_transaction_id"
        ),
    )
    op.create_index("ix_transactions_account_id_date", "transactions", ["account_id", "date"])
    categorized = sa.text("category_id IS NOT NULL")
    op.create_index(
        "ix_transactions_category_id",
        "transactions",
        ["category_id"],
        sqlite_where=categorized,
        postgresql_where=categorized,
    )
    op.create_index(
        "ix_transactions_uncategorized",
        "transactions",
        ["account_id", "id"],
        sqlite_where=sa.text("category_id IS NULL AND deleted_at IS NULL"),
        postgresql_where=sa.text("category_id IS NULL AND deleted_at IS NULL"),
    )


def downgrade() -> None:
    for table in (
        "transactions",
        "transaction_rules",
        "categories",
        "user_spaces",
        "user_preferences",
        "budgets",
        "accounts",
        "users",
        "store_info",
        "spaces",
    ):
        op.drop_table(table)
