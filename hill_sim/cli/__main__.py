"""`python -m hill_sim.cli` is `hill-sim`."""

import sys

from hill_sim.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
