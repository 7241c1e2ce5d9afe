"""The command ``python -m openunmix.evaluate`` of openunmix 1.3.0: ``umx-evaluate``."""

import sys

from openunmix.cli._evaluate import main

if __name__ == "__main__":
    sys.exit(main())
