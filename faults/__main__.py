"""`python -m faults`: injects every fault of the catalogue and counts what is lost."""

import sys

if __name__ == "__main__":  # worker processes import this module, too
    from faults.command import main

    sys.exit(main())
