"""heard_boot, heard_up_ms: of when the last word of a grant is, on its node's clock

Revision 0012, after 0011, made 2026-11-27.
"""

import sqlalchemy as sa
from alembic import op


revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('task_grant', schema=None) as batch_op:
        batch_op.add_column(sa.Column('heard_boot', sa.String(length=64), server_default='', nullable=False))
        batch_op.add_column(sa.Column('heard_up_ms', sa.BigInteger(), server_default='0', nullable=False))
