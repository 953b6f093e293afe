"""What runs an instance of a task: one contract, found by entry point (``farshore.task_drivers``)."""
