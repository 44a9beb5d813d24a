"""The ECS Anywhere agent: joins a machine to a control plane and runs its tasks."""

import os

# Else pydantic looks for plugins in the metadata of every package of the machine's Python, which takes 1.5 MB.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

__version__ = "0.1.0"
