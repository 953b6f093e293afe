"""Configuration at the center: layers and their revisions, schemas, what each node should run, its
delivery, and what the nodes say of it."""
