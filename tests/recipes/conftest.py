"""The scripts of the recipe import each other from their own folder, as when they are run."""

import sys
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"
sys.path += [str(RECIPES / folder) for folder in ("umxs/data", "umxses", "umxs", "umxlive")]
