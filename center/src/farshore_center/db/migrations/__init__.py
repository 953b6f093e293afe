"""Migrations: env.py is run by Alembic; versions/ holds one file per revision."""
