"""`python -m lite` is the `lite` command."""

import sys

from lite.cli import main

sys.exit(main())
