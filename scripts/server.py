#!/usr/bin/env python3
"""Stands in for the Matter project's Push AV Server: runs pavs with the same flags.

Test harnesses start their server as "python3 .../server.py --host ... --strict-mode ...". This becomes
pavs, under the same process id, so that signals reach it. Harnesses show no certificate and may come from
other addresses: unless it is told otherwise (by --access, PAVS_ACCESS or a configuration file), everybody
may do everything, as with the server it stands in for.
"""

import os
import shutil
import sys

here = os.path.dirname(os.path.realpath(__file__))
target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(here, "..", "target")
built = (os.path.join(target, profile, "pavs") for profile in ("release", "debug"))
pavs = next((path for path in built if os.access(path, os.X_OK)), None) or shutil.which("pavs")
if pavs is None:
    sys.exit(f"server.py: there is no pavs in {os.path.normpath(target)} and none on the PATH; "
             "run: cargo build --release")

arguments = sys.argv[1:]
told = any(argument.split("=")[0] in ("--access", "--config") for argument in arguments)
told = told or os.environ.get("PAVS_ACCESS") or os.environ.get("PAVS_CONFIG")
os.execv(pavs, [pavs, "serve", *([] if told else ["--access", "open"]), *arguments])
