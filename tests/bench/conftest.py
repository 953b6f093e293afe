"""The bench is a package at the checkout's root, which is not installed: it is found by its place."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    # At the end: what is installed or stands in tests/ comes first.
    sys.path.append(ROOT)
