#!/usr/bin/env python3
"""Train one of the experiments of jobs/, or look at what was trained: `python launch.py --help`.

This file is read by whatever Python there is, so it keeps to what Python 2.7 and 3.6 read too: one that is too old gets a sentence.
"""

# ruff: noqa: PTH100, PTH109, PTH120, UP031, RUF005
import gc
import os
import sys

OLDEST = (3, 11)
HERE = os.path.dirname(os.path.realpath(__file__))
OURS = ("ganhpc", "jobs")
"""Packages that lie beside this file: one of these that is missing is no matter of the set-up."""


def brought(error):  # type: ignore[no-untyped-def]
    """The folder of PYTHONPATH from which the module came that ended with `error`; None where it came from elsewhere."""
    trace, files = error.__traceback__, [getattr(error, "filename", None)]
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    named = [os.path.abspath(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    foreign = [each for each in named if each != HERE]
    last = [str(file) for file in files[:1] + files[-1:]]
    return next((each for each in foreign if any(file.startswith(each + os.sep) for file in last)), None)


def leave(problem):  # type: ignore[no-untyped-def]
    """Say what is wrong with this Python, and which one to take."""
    made = os.path.join(os.path.relpath(HERE), ".venv", "bin", "python")
    ways = ["`make setup` in %s makes one in .venv (PYTHON=/path/to/python3.11 names the Python to make it of)" % HERE]
    if os.access(made, os.X_OK) and os.path.realpath(sys.prefix) != os.path.join(HERE, ".venv"):
        ways.insert(0, "type `%s launch.py ..` instead" % made)
    say("%s: %s" % (problem, "; or ".join(ways)))


def say(sentence):  # type: ignore[no-untyped-def]
    """End with a sentence."""
    sys.stderr.write("Error: %s.\n" % sentence)
    sys.exit(2)


def start():  # type: ignore[no-untyped-def]
    """Run the program, or leave with a sentence where this Python, or the folder in which this is typed, does not let it."""
    try:
        os.getcwd()
    except OSError as error:
        say("the folder in which this is typed is gone (%s): `cd` into one that exists" % error.strerror)
    if sys.version_info < OLDEST:
        said = "%d.%d" % tuple(sys.version_info[:2])
        leave("ganhpc needs Python %d.%d or newer, and %s is Python %s" % (OLDEST + (sys.executable, said)))
    # The program is started from any folder; its packages lie beside this file.
    sys.path.insert(0, HERE)
    try:
        # Modules stay: looking through their objects again and again takes a tenth of the time to start.
        gc.set_threshold(50000, 20, 20)
        from ganhpc.cli.main import main

        try:
            main()
        finally:
            gc.freeze()  # what ends needs no last search for cycles in all modules: a sixth of the time of a dry run
    except KeyboardInterrupt:  # before the program itself hears it
        sys.stderr.write("Error: stopped.\n")
        sys.exit(130)
    except (ImportError, SyntaxError, AttributeError) as error:
        place = brought(error)
        if place is not None:
            what = "PYTHONPATH has %s, with modules that %s can't use (%s)" % (place, sys.executable, error)
            say("%s: `unset PYTHONPATH`, or take that folder out of it" % what)
        missing = (getattr(error, "name", None) or "").partition(".")[0]
        if not isinstance(error, ModuleNotFoundError) or not missing or missing in OURS:
            raise
        leave("ganhpc needs the package %s, which %s does not have" % (missing, sys.executable))


if __name__ == "__main__":
    start()
