#!/usr/bin/env python3
"""Do the tests exist that the manual pages name? usage: check_named_tests.py CHECKOUT

A page names a test on a line of the macro .Pq: a script by its file, a GoogleTest by its name, with or without its suite; a
name that ends in dots stands for all that begin with it."""
import pathlib
import re
import sys

top = pathlib.Path(sys.argv[1])
defined = set()
for source in (top / "tests").rglob("*.cc"):
    for suite, name in re.findall(r"\bTEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\s*\)", source.read_text()):
        defined |= {name, f"{suite}.{name}"}
scripts = {path.name for path in (top / "tests").rglob("*") if path.suffix in (".sh", ".py")}
registered = "".join(path.read_text() for path in (top / "tests").rglob("CMakeLists.txt"))

count, missing = 0, []
for page in sorted((top / "man").glob("*.7")):
    for line in page.read_text().splitlines():
        if not line.startswith(".Pq"):
            continue
        for word in re.findall(r"[\w.]+", line[3:]):
            if word.endswith((".sh", ".py")):
                count += 1
                if word not in scripts or not re.search(rf"\b{re.escape(word)}\b", registered):
                    missing.append(f"{page.name}: no test runs {word}")
            elif re.match(r"(\w+\.)?[A-Z][a-z0-9]*[A-Z]\w*\.*$", word):
                count += 1
                prefix = word.rstrip(".")
                if word not in defined and not (word.endswith("...") and any(d.startswith(prefix) for d in defined)):
                    missing.append(f"{page.name}: there is no test {word}")
if missing or count == 0:
    sys.exit("\n".join(missing) or "no page names a test: is this a checkout?")
print(f"{count} tests named in manual pages, all there")
