"""`python -m cure_core` is the command `cure`: what `accelerate launch -m cure_core` starts."""

import sys

from cure_core.cli import main

sys.exit(main())
