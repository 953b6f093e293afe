"""secret: what was asked and what came of it is erased when the command is over

Revision 0006, after 0005, made 2026-11-26.
"""

import sqlalchemy as sa
from alembic import op


revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('command', schema=None) as batch_op:
        for name in ('secret', 'erased'):
            batch_op.add_column(
                sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False)
            )
        batch_op.create_index(
            'ix_command_secret',
            ['id'],
            unique=False,
            sqlite_where=sa.text('secret AND NOT erased'),
            postgresql_where=sa.text('secret AND NOT erased'),
        )
