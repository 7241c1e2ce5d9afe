"""Build of the package: its model is made of the weights of the bundled model, without torch.

In a checkout, the weights and the code that writes ONNX are beside this folder, in ``openunmix/``.
A source distribution contains the finished model instead.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
CHECKOUT = HERE.parent / "openunmix"
PACKAGE = "openunmix_lite"
MADE = ("umxs.onnx", "umxs.md")


def make(folder: Path) -> None:
    """Write the model and its card into a package folder."""
    if not (CHECKOUT / "weights" / "umxs").is_dir():
        for name in MADE:
            if not (folder / name).exists():
                shutil.copy(HERE / PACKAGE / name, folder / name)
        return
    import sys

    sys.path.insert(0, str(HERE))
    from build_model import write_model

    write_model(CHECKOUT, folder / MADE[0])
    shutil.copy(CHECKOUT / "weights" / "umxs" / "README.md", folder / MADE[1])


class BuildPy(build_py):
    """Build of the wheel, or of an editable installation."""

    def run(self) -> None:
        """Copy the modules, and make the model beside them."""
        super().run()
        folder = HERE / PACKAGE if self.editable_mode else Path(self.build_lib) / PACKAGE
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)


class Sdist(sdist):
    """Build of the source distribution."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the files, and add the model."""
        super().make_release_tree(base_dir, files)
        make(Path(base_dir) / PACKAGE)


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
