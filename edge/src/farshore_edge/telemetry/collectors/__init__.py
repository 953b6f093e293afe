"""What one Linux host can say about itself in numbers.

One collector for each kind of resource. When samples are taken, how long they are kept and how
they travel is decided elsewhere; nothing here keeps history, computes rates or logs.
"""
