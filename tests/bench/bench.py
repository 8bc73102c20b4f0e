#!/usr/bin/env python3
"""Drives coffer, its peers, the bare disk and a null FUSE file system through the same work, in turns, in one run.

usage: bench.py COFFER [OPTIONS]

COFFER is the program of the release build. What is printed: the median rate of each work; how many times as fast as gocryptfs
coffer is, and the target for that; the processor time of coffer's processes for one operation (while it was done, and until
all of it was in the store), beside that of the null file system. What is not installed is left out, and named. As root, what
is called cold has the kernel's caches dropped; without, it is only mounted anew.
"""
import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time

import plot
from file_systems import LOCAL, Before, Coffer, Missing, make_cold
from works import WORKS, Material


class Sample:
    """One work on one file system in one round."""

    def __init__(self, amount, seconds, cpu, cpu_settled, counted):
        self.rate = amount / seconds
        self.cpu_us, self.cpu_settled_us = 1e6 * cpu / amount, 1e6 * cpu_settled / amount
        self.counted = {key: count / amount for key, count in counted.items()}


def counted_between(before, after):
    counted = {}
    if "fdatasync" in after:
        counted["fdatasync"] = after["fdatasync"] - before["fdatasync"]
        was = {name: u["calls"] for name, u in before["upcalls"].items()}
        counted["upcalls"] = sum(u["calls"] - was.get(name, 0) for name, u in after["upcalls"].items() if name != "forget")
    return counted


def measure(fs, work, material, directory):
    before, cpu = fs.counters(), fs.cpu()
    start = time.monotonic()
    amount = work.act(material, directory)
    seconds = time.monotonic() - start
    if isinstance(amount, tuple):  # it knows its rate
        amount = amount[0] * seconds
    used, after = fs.cpu() - cpu, fs.counters()
    fs.settle()
    return Sample(amount, seconds, used, fs.cpu() - cpu, counted_between(before, after))


class Run:
    def __init__(self, file_systems, works, material, options):
        self.file_systems, self.works, self.material, self.o = file_systems, works, material, options
        self.samples = {(w.key, fs.name): [] for w in works for fs in file_systems}
        self.left_out = {}

    def round(self, number):
        turn = number % len(self.file_systems)
        order = self.file_systems[turn:] + self.file_systems[:turn]
        where = {fs.name: os.path.join(fs.dir, f"round{number}") for fs in order}
        for fs in order:
            os.mkdir(where[fs.name])
        for work in self.works:
            if work.cold:
                make_cold(order)
            for fs in order:
                if (work.key, fs.name) in self.left_out:
                    continue
                try:
                    sample = measure(fs, work, self.material, where[fs.name])
                except (Missing, OSError, RuntimeError) as e:
                    self.left_out[work.key, fs.name] = str(e)
                    print(f"left out: {work.title} on {fs.name}: {e}", file=sys.stderr)
                    continue
                self.samples[work.key, fs.name].append(sample)
                print(f"  round {number + 1}: {work.title:30} {fs.name:10} {sample.rate:10.1f} {work.unit:5}"
                      f"{sample.cpu_us:9.0f} us of CPU", file=sys.stderr)
        for fs in order:
            shutil.rmtree(where[fs.name], ignore_errors=True)
            fs.settle()

    def medians(self):
        out = {}
        for (work, fs), samples in self.samples.items():
            if not samples:
                continue
            median = {name: statistics.median(getattr(s, name) for s in samples)
                      for name in ("rate", "cpu_us", "cpu_settled_us")}
            for key in samples[0].counted:
                median[key] = statistics.median(s.counted[key] for s in samples)
            median["rates"] = [s.rate for s in samples]
            out.setdefault(work, {})[fs] = median
        return out


def machine():
    model = platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), model)
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}"


def print_table(result, works, names):
    print(f"\n{result['machine']}, {result['date']}, load {result['load']}; {result['coffer']}; median of {result['rounds']}\n")
    head = "".join(f"{n:>11}" for n in names)
    print(f"{'':30}{'':5}{head}{'/gocryptfs':>12}{'wanted':>8}{'/null':>7} | {'CPU us':>8}{'settled':>9}{'null':>7}{'times':>7}"
          f" | {'upcalls':>8}{'fdatasync':>10}")
    for work in works:
        row = result["medians"].get(work.key, {})
        rates = "".join(f"{row[n]['rate']:11.1f}" if n in row else f"{'-':>11}" for n in names)
        ours, peer, null = row.get("coffer"), row.get("gocryptfs"), row.get("null")
        ratio = f"{ours['rate'] / peer['rate']:12.2f}" if ours and peer else f"{'-':>12}"
        wanted = f"{work.target:8g}" if work.target else f"{'':8}"
        of_null = f"{ours['rate'] / null['rate']:7.2f}" if ours and null else f"{'-':>7}"
        cpu = f"{ours['cpu_us']:8.0f}{ours['cpu_settled_us']:9.0f}" if ours else f"{'-':>8}{'-':>9}"
        cpu += f"{null['cpu_us']:7.0f}" if null else f"{'-':>7}"
        cpu += f"{ours['cpu_us'] / null['cpu_us']:7.1f}" if ours and null and null["cpu_us"] > 0 else f"{'-':>7}"
        if "before" in row:
            cpu += f"  (before:{row['before']['cpu_us']:8.0f}{row['before']['cpu_settled_us']:9.0f})"
        counts = f"{ours['upcalls']:8.2f}{ours['fdatasync']:10.3f}" if ours and "upcalls" in ours else ""
        print(f"{work.title:30}{work.unit:5}{rates}{ratio}{wanted}{of_null} | {cpu} | {counts}")


def end_orderly(*_):
    """So that nothing stays mounted."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def unmount_quietly(fs):
    with contextlib.suppress(RuntimeError):
        fs.unmount()


def make_all(place, wanted, left_out):
    made = []
    for cls in LOCAL + ((Before,) if Before.binary else ()):
        if wanted and cls.name not in wanted and cls is not Before:
            continue
        try:
            made.append(cls(os.path.join(place, cls.name)))
            made[-1].mount()
        except (Missing, RuntimeError) as e:
            left_out.append(f"{cls.name}: {e}")
            made = [fs for fs in made if fs.name != cls.name]
    return made


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("coffer")
    p.add_argument("--directory", default="/var/tmp", help="where all of it lies meanwhile")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", default="", help="file systems, with commas: " + ",".join(c.name for c in LOCAL))
    p.add_argument("--works", default="", help="with commas: " + ",".join(w.key for w in WORKS))
    p.add_argument("--files", type=int, default=5000)
    p.add_argument("--tree", help="what is unpacked and copied, in place of made up files")
    p.add_argument("--mebibytes", type=int, default=1024, help="of the large file")
    p.add_argument("--reads", type=int, default=10000, help="random ones")
    p.add_argument("--appends", type=int, default=1600)
    p.add_argument("--dbench", type=int, default=10, metavar="SECONDS")
    p.add_argument("--before", metavar="COFFER", default="", help="another build of it, measured as well")
    p.add_argument("--json", metavar="FILE")
    p.add_argument("--svg", metavar="FILE")
    o = p.parse_args()
    signal.signal(signal.SIGTERM, end_orderly)
    Coffer.binary, Before.binary = os.path.realpath(o.coffer), os.path.realpath(o.before) if o.before else ""
    chosen = set(filter(None, o.works.split(",")))
    if unknown := chosen - {w.key for w in WORKS}:
        p.error(f"no such work: {', '.join(sorted(unknown))}")
    works = [w for w in WORKS if not chosen or w.key in chosen]
    needed = {w.needs for w in works}
    works = [w for w in WORKS if w in works or w.key in needed]
    left_out = []
    with tempfile.TemporaryDirectory(prefix="bench", dir=o.directory) as place, contextlib.ExitStack() as cleanup:
        material = Material(place, o)
        mounted = make_all(place, set(filter(None, o.only.split(","))), left_out)
        for fs in mounted:
            cleanup.callback(unmount_quietly, fs)
        run = Run(mounted, works, material, o)
        for number in range(o.rounds):
            run.round(number)
        result = {"machine": machine(), "date": datetime.date.today().isoformat(), "rounds": o.rounds,
                  "load": round(os.getloadavg()[2], 1), "coffer": os.path.relpath(o.coffer),
                  "options": {k: v for k, v in vars(o).items() if isinstance(v, int)},
                  "titles": {w.key: w.title for w in works}, "targets": {w.key: w.target for w in works if w.target},
                  "left_out": left_out + [f"{w} on {fs}: {why}" for (w, fs), why in run.left_out.items()],
                  "medians": run.medians()}
    print_table(result, works, [fs.name for fs in mounted])
    for what in result["left_out"]:
        print("left out:", what)
    if o.json:
        with open(o.json, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
    if o.svg:
        with open(o.svg, "w", encoding="utf-8") as f:
            f.write(plot.draw(result))


if __name__ == "__main__":
    main()
