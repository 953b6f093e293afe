"""lapses: how often in a row an instance was ended by its lease

Revision 0011, after 0010, made 2026-11-27.
"""

import sqlalchemy as sa
from alembic import op


revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('task_instance', schema=None) as batch_op:
        batch_op.add_column(sa.Column('lapses', sa.Integer(), server_default='0', nullable=False))
