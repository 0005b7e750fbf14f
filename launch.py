#!/usr/bin/env python3
"""Train one of the experiments of jobs/, or look at what was trained: `python launch.py --help`."""

import sys
from pathlib import Path

# The program is started from any folder; its packages lie beside this file.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from ganhpc.cli.main import main

if __name__ == "__main__":
    main()
