"""Farshore for Ansible: the inventory, the connection plugin, and what both need.

Ansible's own Python process imports this, which may be another one than the center's: everything
here but the two plugins needs the standard library alone, and the plugins need Ansible beside it.
``connection/`` and ``inventory/`` are Ansible's plugin folders; nothing else lies in them.
"""
