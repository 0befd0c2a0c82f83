"""Sums the tests inside the programs of a Meson log: prints "PASSED FAILED SKIPPED".

Programs say what they did in cmocka's words or in a line "N passed, N failed[, N skipped]"; one
that says nothing is one test.
"""
import json
import re
import sys

OWN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
CMOCKA = re.compile(r"^\[  (PASSED|FAILED|SKIPPED)  \] (\d+) test\(s\)", re.M)


def counts(test):
    """What one program reported; its exit code has the last word."""
    text = test.get("stdout", "") + "\n" + test.get("stderr", "")
    sums = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    for passed, failed, skipped in OWN.findall(text):
        sums["PASSED"] += int(passed)
        sums["FAILED"] += int(failed)
        sums["SKIPPED"] += int(skipped or 0)
    for word, number in CMOCKA.findall(text):
        sums[word] += int(number)
    result = test["result"]
    if result == "SKIP":
        sums["SKIPPED"] = sums["SKIPPED"] or 1
    elif result in ("OK", "EXPECTEDFAIL"):
        sums["PASSED"] = sums["PASSED"] or 1
    else:
        sums["FAILED"] = sums["FAILED"] or 1
    return sums


def main():
    with open(sys.argv[1], encoding="utf-8") as log:
        tests = [counts(json.loads(line)) for line in log if line.strip()]
    if not tests:
        sys.exit(1)
    print(*(sum(test[word] for test in tests) for word in ("PASSED", "FAILED", "SKIPPED")))


main()
