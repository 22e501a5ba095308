"""`python -m mutants`: plants every fault of the catalogue, one at a time, and counts those that are found."""

import sys

from mutants.command import main

sys.exit(main())
