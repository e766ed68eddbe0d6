"""The table of what people corrected in their books' categories."""

from __future__ import annotations

import sqlalchemy as sa

from dhanam_jobs.handlers.store.columns import UtcMoment, id_type
from dhanam_jobs.handlers.store.schema import metadata


def _refers(target: str, on_delete: str) -> sa.ForeignKey:
    return sa.ForeignKey(target, ondelete=on_delete)


# `confidence` is how sure the learned part was of what was corrected, NULL where it had no part in it.
category_corrections = sa.Table(
    "category_corrections",
    metadata,
    sa.Column("id", id_type(), primary_key=True),
    sa.Column("space_id", id_type(), _refers("spaces.id", "CASCADE"), nullable=False),
    sa.Column("transaction_id", id_type(), _refers("transactions.id", "CASCADE"), nullable=False, index=True),
    sa.Column("user_id", id_type(), _refers("users.id", "SET NULL"), index=True),
    sa.Column("original_category_id", id_type(), _refers("categories.id", "SET NULL"), index=True),
    sa.Column("corrected_category_id", id_type(), _refers("categories.id", "CASCADE"), nullable=False, index=True),
    sa.Column("merchant_pattern", sa.Text),
    sa.Column("description_pattern", sa.Text),
    sa.Column("confidence", sa.Float),
    sa.Column("applied_to_future", sa.Boolean, nullable=False),
    sa.Column("created_at", UtcMoment(), nullable=False),
    sa.Index("ix_category_corrections_space_id_created_at", "space_id", "created_at"),
)
