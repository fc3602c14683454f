"""`python -m ifnormal` is the command `ifnormal`."""

import sys

from ifnormal.cli import main

if __name__ == "__main__":
    sys.exit(main())
