#!/usr/bin/env python3
"""check_layers.py ROOT LAYERS: fails on includes that the layers file does not allow.

A line of it is "module: dependency ..."; a module comes after its dependencies.
"""
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path

INCLUDE = re.compile(r'\s*#\s*include\s*(["<])([^">]+)')
HOMES = {  # headers of a library -> the only files that may include them
    r"(simgrid|xbt)/": "sim/simgrid*",
    r"(mpi\.h|boost/mpi)": "cli/mpi_*",
    r"(cuda|cublas|cudnn|curand|nccl|nvml|nvtx)": "backend/cuda/*",
}

root, layers = Path(sys.argv[1]), {}
for line in Path(sys.argv[2]).read_text().splitlines():
    module, dependencies = line.split(":")
    layers[module] = {module}.union(*(layers[d] for d in dependencies.split()))

faults = 0
for module, allowed in layers.items():
    paths = (root / module).rglob("*.[hc][pu]*")
    for path in sorted(paths):
        file = path.relative_to(root).as_posix()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not (match := INCLUDE.match(line)):
                continue
            quote, header = match.groups()
            folder = header.split("/")[0]
            if "/" in header and folder not in allowed and (quote == '"' or folder in layers):
                may_use = ", ".join(sorted(allowed))
                print(f"{file}:{number}: {header} is outside {module}'s layers ({may_use})")
                faults += 1
            for library, home in HOMES.items():
                if re.match(library, header) and not fnmatchcase(file, home):
                    print(f"{file}:{number}: {header} belongs in {home} only")
                    faults += 1
sys.exit(faults > 0)
