"""`python -m emofeedback`: the command, for environments without its console script."""

import sys

from emofeedback.cli.main import main

sys.exit(main())
