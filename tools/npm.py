"""JavaScript packages at pinned versions, for pages that must not ask another host for them.

npm fetches a package once, into build/npm; nothing of it is committed.
"""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools import notebooks

FOLDER = notebooks.BUILD / "npm"
NO_NPM = (
    "Expected npm, which comes with Node.js, to fetch JavaScript packages; `apt-get install npm`"
    " brings it on Debian and Ubuntu. Everything but the site works without it."
)


class Unavailable(Exception):
    """Something could not be fetched; the message is a sentence that says what and why."""


def packed(name: str, version: str) -> Path:
    """The folder of a package's files, such as ``@mathjax/mathjax-newcm-font``.

    Raises
    ------
    Unavailable
        If there is no npm, or npm cannot fetch it.
    """
    folder = FOLDER / f"{name.replace('/', '+')}-{version}"
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable(NO_NPM)
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as room:
            command = [npm, "pack", f"{name}@{version}", "--pack-destination", room]
            carried_out(command, f"{name} {version}")
            (archive,) = Path(room).glob("*.tgz")
            with tarfile.open(archive) as tar:
                tar.extractall(room, filter="data")
            (Path(room) / "package").rename(folder)
    return folder


def carried_out(command: list[str], what: str) -> None:
    """Run a command that fetches something; if it fails, say so in a sentence."""
    done = subprocess.run(command, cwd=notebooks.ROOT, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise Unavailable(f"Expected to fetch {what}, but {Path(command[0]).name} says: {last}")
