"""cancelling: the node was asked to end the command

Revision 0005, after 0004, made 2026-11-23.
"""

import sqlalchemy as sa
from alembic import op


revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('command_target', schema=None) as batch_op:
        batch_op.add_column(
            sa.Column('cancelling', sa.Boolean(), server_default=sa.false(), nullable=False)
        )
