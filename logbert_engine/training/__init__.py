"""The plan of stages, the loop, exact states, the memory policy, the processes that train."""

import logbert_engine.models  # noqa: F401 - sets what torch reads when it is imported, and imports no torch itself
