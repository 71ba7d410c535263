"""Inside the build of the platform's image: install wheels by a pip that is a wheel itself."""

import runpy
import sys
from pathlib import Path

sys.path[:0] = map(str, Path("/wheels").glob("pip-*.whl"))
sys.argv[1:1] = ["install", "--quiet", "--no-index", "--find-links=/wheels", "--compile"]
sys.argv.append("--root-user-action=ignore")
runpy.run_module("pip", run_name="__main__")
