"""verdicts: the last ones on a job's gates; restarts: an index of the commands that restart nodes

Revision 0008, after 0007, made 2026-11-26.
"""

import sqlalchemy as sa
from alembic import op


revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    restarts = sa.text("verb IN ('reboot', 'restart-agent')")
    with op.batch_alter_table('job', schema=None) as batch_op:
        batch_op.add_column(sa.Column('judged', sa.Text(), nullable=True))
    with op.batch_alter_table('command', schema=None) as batch_op:
        batch_op.create_index(
            'ix_command_restart',
            ['expires_ms'],
            unique=False,
            sqlite_where=restarts,
            postgresql_where=restarts,
        )
