"""The center's database: one durable writer, snapshot reads, migrations."""
