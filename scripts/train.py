"""Train as with openunmix 1.3.0: its options, dataset, defaults and files."""

import sys

from openunmix.cli._train import main

if __name__ == "__main__":
    sys.exit(main(["--dataset", "musdb", "--pth", "--nb-workers", "0", *sys.argv[1:]]))
