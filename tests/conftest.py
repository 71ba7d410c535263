"""What all tests share: the folder on the path, and the real parts.

A part that is absent skips the tests that need it, and the skip says which part it is.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
