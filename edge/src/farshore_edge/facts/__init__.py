"""What the agent finds out about its machine: things that stay as they are for hours or years.

What changes by the minute is telemetry. What people say about a node are labels, not facts.
"""
