"""Which requests came under an idempotency key.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

from dhanam_jobs.handlers.store.columns import UtcMoment, id_type, json_type

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", id_type(), nullable=False),
        sa.Column("key", id_type(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("jobs", json_type()),
        sa.Column("answer", sa.Text()),
        sa.Column("begun_at", UtcMoment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_idempotency_keys_user_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_begun_at", "idempotency_keys", ["begun_at"])
