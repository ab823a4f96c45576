"""`python -m cure_core` is the command `cure`: what `accelerate launch -m cure_study` starts."""

import sys

from cure_study.runner.cli import main

sys.exit(main())
