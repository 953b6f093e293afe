"""The real agent, with another place to read the kernel's boot id from: the first argument."""

import sys
from pathlib import Path

from farshore_edge import power
from farshore_edge.cli import main

if __name__ == "__main__":
    power.BOOT_ID = Path(sys.argv.pop(1))
    sys.exit(main())
