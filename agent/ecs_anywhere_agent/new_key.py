"""`python -m ecs_anywhere_agent.new_key DIRECTORY`: a key and the request for its certificate, as files.

By itself, so that a running agent does not keep the library that makes them.
"""

import sys
from pathlib import Path

from ecs_anywhere_agent.identity import IdentityFiles, write_private
from ecs_anywhere_agent.registering import new_key

if __name__ == "__main__":
    files = IdentityFiles(Path(sys.argv[1]))
    private, request = new_key()
    write_private(files.key, private)
    write_private(files.request, request)
