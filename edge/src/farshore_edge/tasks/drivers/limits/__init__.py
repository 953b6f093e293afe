"""What one instance may use of its machine: control groups where there are some, else limits of processes."""
