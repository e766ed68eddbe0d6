"""Which e-mails were handed over, and when.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

from dhanam_jobs.handlers.store.columns import UtcMoment

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "email_deliveries",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("begun_at", UtcMoment(), nullable=False),
        sa.Column("sent_at", UtcMoment()),
        sa.PrimaryKeyConstraint("message_id", name="pk_email_deliveries"),
    )
    op.create_index("ix_email_deliveries_begun_at", "email_deliveries", ["begun_at"])
    op.create_index("ix_email_deliveries_recipient_begun_at", "email_deliveries", ["recipient", "begun_at"])
