"""The package ganhpc, as users' programs import it: its modules are those of the folder three levels up.

Side: compute. May import: nothing.
"""

import os

_real = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
__path__ = [_real]
__file__ = os.path.join(_real, "__init__.py")
