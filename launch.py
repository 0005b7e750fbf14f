#!/usr/bin/env python3
"""Train one of the experiments of jobs/, or look at what was trained: `python launch.py --help`.

This file is read by whatever Python there is, so it keeps to what Python 2.7 and 3.6 read too: one that is too old gets a sentence.
"""

# ruff: noqa: PTH109, PTH120, UP031, RUF005
import os
import sys

OLDEST = (3, 11)
HERE = os.path.dirname(os.path.realpath(__file__))
OURS = ("ganhpc", "jobs")
"""Packages that lie beside this file: one of these that is missing is no matter of the set-up."""


def leave(problem):  # type: ignore[no-untyped-def]
    """Say what is wrong with this Python, and which one to take."""
    made = os.path.join(os.path.relpath(HERE), ".venv", "bin", "python")
    ways = ["`make setup` in %s makes one in .venv (PYTHON=/path/to/python3.11 names the Python to make it of)" % HERE]
    if os.access(made, os.X_OK) and os.path.realpath(sys.prefix) != os.path.join(HERE, ".venv"):
        ways.insert(0, "type `%s launch.py ..` instead" % made)
    sys.stderr.write("Error: %s: %s.\n" % (problem, "; or ".join(ways)))
    sys.exit(2)


def start():  # type: ignore[no-untyped-def]
    """Run the program, or leave with a sentence where this Python, or the folder in which this is typed, does not let it."""
    try:
        os.getcwd()
    except OSError as error:
        sys.stderr.write(
            "Error: the folder in which this is typed is gone (%s): `cd` into one that exists.\n" % error.strerror
        )
        sys.exit(2)
    if sys.version_info < OLDEST:
        said = "%d.%d" % tuple(sys.version_info[:2])
        leave("ganhpc needs Python %d.%d or newer, and %s is Python %s" % (OLDEST + (sys.executable, said)))
    # The program is started from any folder; its packages lie beside this file.
    sys.path.insert(0, HERE)
    try:
        import gc

        # Modules stay: looking through their objects again and again takes a tenth of the time to start.
        gc.set_threshold(50000, 20, 20)
        from ganhpc.cli.main import main

        main()
    except ImportError as error:
        missing = (getattr(error, "name", None) or "").partition(".")[0]
        if not isinstance(error, ModuleNotFoundError) or not missing or missing in OURS:
            raise
        leave("ganhpc needs the package %s, which %s does not have" % (missing, sys.executable))


if __name__ == "__main__":
    start()
