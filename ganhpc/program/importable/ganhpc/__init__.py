"""The package ganhpc, as users' programs import it: that of the folder three levels up takes the place of this one.

Side: compute. May import: nothing.
"""

import importlib.util
import os
import sys

_real = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
_spec = importlib.util.spec_from_file_location(
    __name__, os.path.join(_real, "__init__.py"), submodule_search_locations=[_real]
)
assert _spec and _spec.loader
_module = importlib.util.module_from_spec(_spec)
sys.modules[__name__] = _module
_spec.loader.exec_module(_module)
