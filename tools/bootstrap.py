"""Make .venv from the pinned constraints, once; even an old Python can read this and say why not.

python tools/bootstrap.py [URL of a PyTorch wheel index]
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)


def python_in(venv):
    """The interpreter of a virtual environment, on this system."""
    if os.name == "nt":
        return os.path.join(venv, "Scripts", "python.exe")
    return os.path.join(venv, "bin", "python")


def complaint(version, has_module):
    """One sentence with the remedy where this Python will not do, else an empty text."""
    if tuple(version[:2]) < OLDEST:
        return (
            "dpo-edu needs Python 3.11 or newer and this is Python %d.%d: install a newer one and "
            "name it, as in 'make run PYTHON=python3.12'." % tuple(version[:2])
        )
    if not (has_module("venv") and has_module("ensurepip")):
        return (
            "This Python cannot make virtual environments: install its venv module (on Debian and "
            "Ubuntu 'sudo apt install python3-venv') and run the command again."
        )
    return ""


def has_module(name):
    """Whether a module can be imported."""
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def fingerprint(root):
    """Changes whenever the pinned dependencies or the place of the checkout do."""
    digest = hashlib.sha256(os.path.abspath(root).encode("utf-8"))
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(root, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read(path):
    """The text of a file, empty where there is none."""
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read().strip()


def create(folder):
    """Make an empty virtual environment; in this process, so that Ctrl-C leaves no traceback."""
    import venv

    venv.create(folder, symlinks=os.name != "nt", with_pip=True)


def cleared(folder, mark):
    """Make the folder, and remove all it holds but for one file: that is there whatever happens."""
    if not os.path.isdir(folder):
        os.makedirs(folder)
    open(os.path.join(folder, mark), "w").close()
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif name != mark:
            os.remove(path)


def install(root, venv, torch_index):
    """Make the environment and install into it; an environment left half-made is made anew."""
    unfinished = os.path.join(venv, "unfinished")
    if os.path.exists(unfinished) or not os.path.exists(python_in(venv)):
        cleared(venv, "unfinished")
        create(venv)
    open(unfinished, "w").close()
    pip = [python_in(venv), "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["-c", "constraints.txt"]
    if torch_index:
        subprocess.check_call(pip + ["--no-deps", "--index-url", torch_index, "torch"], cwd=root)
    subprocess.check_call(pip + ["-e", ".[dev]"], cwd=root)
    os.remove(unfinished)


def main(root=ROOT, torch_index=""):
    """Return 0 when .venv is ready, 130 after Ctrl-C, or the sentence that says what is missing."""
    venv = os.path.join(root, ".venv")
    stamp = os.path.join(venv, "installed")
    if read(stamp) == fingerprint(root) and os.path.exists(python_in(venv)):
        return 0
    problem = complaint(sys.version_info, has_module)
    if problem:
        return problem
    print("Setting up .venv with Python %s; this downloads PyTorch." % platform.python_version())
    sys.stdout.flush()
    try:
        if os.path.exists(stamp):
            os.remove(stamp)
        install(root, venv, torch_index)
        with open(stamp, "w") as file:
            file.write(fingerprint(root))
    except subprocess.CalledProcessError as error:
        sys.stderr.write((error.output or b"").decode("utf-8", "replace"))
        return "The installation failed (the message above says why): repair that and run it again."
    except EnvironmentError as error:
        return "Expected to write .venv, but: %s; repair that and run it again." % error
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted: .venv is half-made; the next command makes it anew.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(ROOT, *sys.argv[1:2]))
