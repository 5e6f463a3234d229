# For type checkers, which do not see that `__init__.py` gives other modules these names while it runs.
from livekit_plugins_openai_ga import *
from livekit_plugins_openai_ga import __version__ as __version__
