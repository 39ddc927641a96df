"""`python -m groundling`, which is what torchrun starts."""

import sys

from groundling.cli import main

if __name__ == "__main__":
    sys.exit(main())
