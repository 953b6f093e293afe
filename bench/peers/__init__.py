"""Farshore beside Salt and Ansible: the same work on the same machine, one after the other.

The peers come from PyPI into environments of their own; nothing of them is installed beside Farshore.
"""
