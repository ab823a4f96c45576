"""`python -m cure_study` is the command `cure`; `accelerate launch -m cure_study` starts it."""

import sys

from cure_study.runner.cli import main

sys.exit(main())
