#!/usr/bin/env python3
"""Lists what was skipped in a run of ctest, each with the reason it gave. usage: list_skipped.py JUNIT-FILE

A test says so by exit code 77 and a line "SKIPPED: why", a case of a GoogleTest program by GTEST_SKIP."""
import re
import sys
import xml.etree.ElementTree

for test in xml.etree.ElementTree.parse(sys.argv[1]).iter("testcase"):
    said = test.findtext("system-out") or ""
    cases = sorted(set(re.findall(r"^\[  SKIPPED \] (\w\S*\.\S+)", said, re.MULTILINE)))
    if test.find("skipped") is not None:
        reason = re.search(r"^SKIPPED: (.*)", said, re.MULTILINE)
        print(f"{test.get('name')}: {reason[1] if reason else 'it does not say why'}")
    elif cases:
        print(f"{test.get('name')}: {', '.join(cases)}")
