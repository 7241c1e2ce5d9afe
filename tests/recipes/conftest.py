"""The scripts of the recipe import each other from their own folder, as when they are run."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "recipes" / "umxs" / "data"))
