"""`python -m bpttlab` is the command `bpttlab`."""

from bpttlab.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
