"""Debian packages as a source of data: fetched by name, unpacked, never installed.

Needs `apt-get`, `apt-cache` and `dpkg`, as on Debian and Ubuntu; no administrator's rights.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["Cache"]


class Cache:
    """A folder of unpacked packages.

    Parameters
    ----------
    folder : Path
        Where packages are unpacked, each in a folder of its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)

    def fetch(self, package: str) -> Path:
        """Fetch a package if it is not there yet.

        Parameters
        ----------
        package : str
            Name of the package.

        Returns
        -------
        Path
            Folder with the package's files; its `version` file holds the version.
        """
        root = self.folder / package
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
                unpacked = Path(temporary, "unpacked")
                _unpack([package], unpacked)
                os.replace(unpacked, root)
        return root

    def version(self, package: str) -> str:
        """Return the version of a fetched package."""
        return (self.fetch(package) / "version").read_text().strip()

    def copyright(self, package: str) -> Path:
        """Return the file in which a fetched package states its licences."""
        return self.fetch(package) / "usr/share/doc" / package / "copyright"

    def program(self, name: str) -> tuple[str, dict[str, str]]:
        """Return how to run a program: the installed one, or else the package of that name.

        Returns
        -------
        tuple of str and dict of str to str
            Path of the program and the environment it needs.
        """
        installed = shutil.which(name)
        if installed:
            return installed, dict(os.environ)
        root = self.folder / f"{name}-program"
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
                unpacked = Path(temporary, "unpacked")
                _unpack([name, *_missing_libraries(name)], unpacked)
                os.replace(unpacked, root)
        libraries = {str(path.parent) for path in (root / "usr/lib").rglob("*.so*")}
        path = ":".join([*sorted(libraries), os.environ.get("LD_LIBRARY_PATH", "")])
        return str(root / "usr/bin" / name), {**os.environ, "LD_LIBRARY_PATH": path}


def _unpack(packages: list[str], root: Path) -> None:
    """Download packages and unpack them into one folder; the first one's version is noted."""
    root.mkdir()
    with tempfile.TemporaryDirectory(dir=root.parent) as downloads:
        _run(["apt-get", "-q", "download", *packages], cwd=downloads)
        for archive in Path(downloads).iterdir():
            _run(["dpkg", "-x", str(archive), str(root)])
            if archive.name.startswith(f"{packages[0]}_"):
                version = _run(["dpkg-deb", "-f", str(archive), "Version"])
                (root / "version").write_text(version)


def _missing_libraries(package: str) -> list[str]:
    """List all libraries that a package needs and that are not installed."""
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    depends = _run(["apt-cache", "depends", "--recurse", *[f"--no-{k}" for k in kinds], package])
    needed = {line for line in depends.splitlines() if line.startswith("lib") and ":" not in line}
    installed = set(_run(["dpkg-query", "-f", "${Package}\n", "-W"]).split())
    return sorted(needed - installed)


def _run(command: list[str], cwd: str | None = None) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout
