"""What people corrected, for the learned part of categorisation.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

from dhanam_jobs.handlers.store.columns import UtcMoment, id_type

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "category_corrections",
        sa.Column("id", id_type(), nullable=False),
        sa.Column("space_id", id_type(), nullable=False),
        sa.Column("transaction_id", id_type(), nullable=False),
        sa.Column("user_id", id_type()),
        sa.Column("original_category_id", id_type()),
        sa.Column("corrected_category_id", id_type(), nullable=False),
        sa.Column("merchant_pattern", sa.Text()),
        sa.Column("description_pattern", sa.Text()),
        sa.Column("confidence", sa.Float()),
        sa.Column("applied_to_future", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcMoment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_category_corrections"),
        sa.ForeignKeyConstraint(
            ["space_id"], ["spaces.id"], name="fk_category_corrections_space_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["transactions.id"],
            name="fk_category_corrections_transaction_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_category_corrections_user_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["original_category_id"],
            ["categories.id"],
            name="fk_category_corrections_original_category_id",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["corrected_category_id"],
            ["categories.id"],
            name="fk_category_corrections_corrected_category_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_category_corrections_space_id_created_at", "category_corrections", ["space_id", "created_at"])
    for column in ("transaction_id", "user_id", "original_category_id", "corrected_category_id"):
        op.create_index(f"ix_category_corrections_{column}", "category_corrections", [column])
