"""Ingest: accept once, commit, acknowledge."""
