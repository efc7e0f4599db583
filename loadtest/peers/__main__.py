"""`python -m loadtest.peers`."""

import sys

from loadtest.peers.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
