#!/usr/bin/env python3
"""Writes docs/validation.md: published results against simulated ones (configs/validation)."""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs" / "validation"
FIGURE_2_ALONE = [
    "--calibration", str(CONFIGS / "a40-figure-2-alone.json"),
    "--calibration", str(CONFIGS / "v100-figure-2-alone.json"),
]
FAR_OFF = 0.25  # rows beyond this are explained
K = 1024


class Simulator:
    """Runs zebroid sweep over sequence lengths; asks no question twice."""

    def __init__(self, zebroid, options, tokens_per_gpu=None):
        self.zebroid = zebroid
        self.options = options
        self.tokens_per_gpu = tokens_per_gpu
        self.known = {}

    def result(self, strategy, setting, length, options=()):
        key = (strategy, *setting, length, *options)
        if key not in self.known:
            self.ask(strategy, setting, [length], options)
        return self.known[key]

    def results(self, strategy, setting, lengths, options=()):
        missing = [n for n in lengths if (strategy, *setting, n, *options) not in self.known]
        if missing:
            self.ask(strategy, setting, missing, options)
        return [self.known[(strategy, *setting, n, *options)] for n in lengths]

    def ask(self, strategy, setting, lengths, options):
        if self.tokens_per_gpu is None:
            return self.sweep(strategy, setting, lengths, options, [])
        for length in lengths:
            batch = str(self.batch(setting[1], length))
            self.sweep(strategy, setting, [length], options, ["--global-batch", batch])

    def sweep(self, strategy, setting, lengths, options, batch):
        model, cluster = setting
        values = ",".join(str(n) for n in lengths)
        command = [self.zebroid, "sweep", "--quiet", "--model", model, "--cluster", cluster,
                   "--strategy", strategy, "--vary", f"training.sequence_length={values}",
                   *self.options, *options, *batch]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()
        for length, line in zip(lengths, lines, strict=True):
            result = json.loads(line)["results"][0]
            if "tokens_per_s" not in result:
                sys.exit(f"{model} on {cluster}, {strategy}, {length} tokens: {result}")
            self.known[(strategy, model, cluster, length, *options)] = result

    def batch(self, cluster, length):
        """The default rule (docs/formats/scenario.md) with other tokens per GPU."""
        counts = self.gpu_counts(cluster)
        gpus = sum(counts)
        unit = math.lcm(gpus, *(sum(counts[: i + 1]) for i in range(len(counts))))
        least = gpus * max(1, self.tokens_per_gpu // length)
        raised = -(-least // unit) * unit
        return raised if raised <= 2 * least else least

    def gpu_counts(self, cluster):
        if "x" in cluster:
            return [int(part.split("x")[0]) for part in cluster.split(",")]
        shown = subprocess.run([self.zebroid, "show", cluster, "--json"], check=True,
                               stdout=subprocess.PIPE)
        return [row["count"] for row in json.loads(shown.stdout)["gpus"]]


def speeds(simulator, strategy, settings, lengths, options=()):
    return [
        result["tokens_per_s"]
        for setting in settings
        for result in simulator.results(strategy, setting, lengths, options)
    ]


def measure(simulator, row, published):
    settings = row.get("settings", published["settings"])
    lengths = row.get("lengths", published["lengths"])
    options = row.get("options", [])
    if "ratio" in row:
        above, below = row["ratio"]
        ratios = [
            a / b
            for a, b in zip(
                speeds(simulator, above, settings, lengths, options),
                speeds(simulator, below, row.get("over_settings", settings), lengths,
                       options + row.get("over_options", [])),
                strict=True)
        ]
        return statistics.mean(ratios)
    if "stop" in row:
        lengths = [K * n for n in range(4, 33)]
        results = simulator.results(row["stop"], settings[0], lengths, options)
        still = [n for n, r in zip(lengths, results) if r["experts_offloaded"]["total"] > 0]
        return (max(still, default=lengths[0] - K) + K) / K
    strategy, role = row["busy"]
    result = simulator.result(strategy, settings[0], lengths[0], options)
    return next(p["busy_fraction"] for p in result["pools"] if p["role"] == role)


def holds(simulator, ordering, published):
    """Whether an ordering holds, and the numbers that say so."""
    settings, lengths = published["settings"], ordering.get("lengths", published["lengths"])
    if "lower_at" in ordering:
        numbers = []
        for cluster in ordering["lower_at"]:
            experts = 4 * int(cluster.split(",")[1].split("x")[0])
            options = ["--set", f"model.num_local_experts={experts}"]
            a, b = (simulator.result(s, ["mixtral-d1", cluster], 4 * K, options)["tokens_per_s"]
                    for s in ("zebra", "ep-ideal"))
            numbers.append(a / b)
        return numbers[0] < numbers[1], "{:.2f}, {:.2f}".format(*numbers)
    if "grows" in ordering:
        above, below = ordering["grows"]
        means = [mean_ratio(simulator, above, below, settings, [n]) for n in lengths]
        return means == sorted(set(means)), ", ".join(f"{m:.2f}" for m in means)
    above, below = ordering["greater"]
    if not ordering.get("each"):
        mean = mean_ratio(simulator, above, below, settings, lengths)
        return mean > 1, f"{mean:.2f}"
    ratios = [a / b for a, b in zip(speeds(simulator, above, settings, lengths),
                                    speeds(simulator, below, settings, lengths))]
    return min(ratios) > 1, f"least ratio {min(ratios):.2f}"


def mean_ratio(simulator, above, below, settings, lengths):
    return statistics.mean(a / b for a, b in zip(speeds(simulator, above, settings, lengths),
                                                 speeds(simulator, below, settings, lengths)))


def errors(values, rows):
    return [abs(value / row["published"] - 1) for value, row in zip(values, rows)]


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def percent(share):
    return f"{100 * share:.1f} %"


def comparison(published, columns):
    rows = published["rows"]
    out = ["| row | published |" + "".join(f" {name} | error |" for name, _ in columns) + " setting |",
           "|---|--:|" + "--:|--:|" * len(columns) + "---|"]
    for i, row in enumerate(rows):
        cells = "".join(f" {values[i]:.2f} | {percent(errors(values, rows)[i])} |"
                        for _, values in columns)
        out.append(f"| {row['id']} | {row['published']:g} |{cells} {row['what']} |")
    for name, quantity in (("median error", statistics.median), ("p90", lambda e: quantile(e, 0.9))):
        cells = "".join(f" | **{percent(quantity(errors(values, rows)))}** |" for _, values in columns)
        out.append(f"| **{name}** | |{cells} |")
    return out


def document(zebroid, published):
    rows = published["rows"]
    alone = Simulator(zebroid, FIGURE_2_ALONE)
    fitted = Simulator(zebroid, [])
    a = [measure(alone, row, published) for row in rows]
    b = [measure(fitted, row, published) for row in rows]
    out = ["# Validation: published results against simulated ones", "",
           "Written by `scripts/validation.py`. " + published["source"] + ".", "",
           "**(a)** Figure 2 and datasheets alone (`configs/validation/*-figure-2-alone.json`). **(b)** the shipped",
           "calibrations: as (a), but the efficiency of attention on the A40 is fitted on these rows, one number for all,",
           "and the V100 follows from Figure 2. Other stated assumptions are the same in both: 64Ki tokens per GPU, EP",
           "repeats its all-to-alls when it recomputes, links reach what the shipped rows say.", ""]
    out += comparison(published, [("(a)", a), ("(b)", b)])
    out += ["", "## Rows that are far off", ""]
    for i, row in enumerate(rows):
        if max(errors(a, rows)[i], errors(b, rows)[i]) > FAR_OFF:
            out.append(f"- **{row['id']}**: {row.get('explanation', 'not explained')}")
    out += ["", "## Orderings", "", "| ordering | (a) | (b) |", "|---|---|---|"]
    for ordering in published["orderings"]:
        cells = []
        for simulator in (alone, fitted):
            kept, numbers = holds(simulator, ordering, published)
            cells.append(("holds: " if kept else "**fails**: ") + numbers)
        out.append(f"| {ordering['what']} | {cells[0]} | {cells[1]} |")
    out += ["", "## What the open assumptions do", "",
            "Values under (b) with other batches, and with expert parallelism that keeps what its all-to-alls brought",
            "(`--recompute module`).", ""]
    others = [(f"{n}Ki tokens per GPU", Simulator(zebroid, [], n * K)) for n in (16, 32, 128)]
    others.append(("per module", Simulator(zebroid, ["--recompute", "module"])))
    columns = [("64Ki, as above", b)]
    columns += [(name, [measure(s, row, published) for row in rows]) for name, s in others]
    out += ["| row | published |" + "".join(f" {name} |" for name, _ in columns),
            "|---|--:|" + "--:|" * len(columns)]
    for i, row in enumerate(rows):
        out.append(f"| {row['id']} | {row['published']:g} |" +
                   "".join(f" {values[i]:.2f} |" for _, values in columns))
    out.append("| **median error** | |" + "".join(
        f" **{percent(statistics.median(errors(values, rows)))}** |" for _, values in columns))
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zebroid", default=str(ROOT / "build" / "release" / "zebroid"))
    parser.add_argument("--output", default=str(ROOT / "docs" / "validation.md"))
    parser.add_argument("--check", action="store_true", help="compare with the file, write nothing")
    arguments = parser.parse_args()
    published = json.loads((CONFIGS / "hetermoe.json").read_text())
    text = document(arguments.zebroid, published)
    output = pathlib.Path(arguments.output)
    if not arguments.check:
        temporary = output.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.rename(output)
    elif not output.exists() or output.read_text() != text:
        sys.exit(f"{output} is not what this build says; run scripts/validation.py")
    if "**fails**" in text:
        sys.exit("an ordering fails; see " + arguments.output)


if __name__ == "__main__":
    main()
