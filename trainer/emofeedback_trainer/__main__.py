"""`python -m emofeedback_trainer`: the command, for environments without its console script."""

import sys

from emofeedback_trainer.cli import main

sys.exit(main())
