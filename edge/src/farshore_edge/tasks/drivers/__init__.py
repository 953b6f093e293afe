"""What is to run an instance of a task: one contract for every driver."""
