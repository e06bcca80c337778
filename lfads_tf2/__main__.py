"""``python -m lfads_tf2``: the command ``lfads`` where it is not on the path."""

import sys

from lfads_tf2.program.command_line import main

if __name__ == "__main__":
    sys.exit(main())
