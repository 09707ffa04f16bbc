#!/usr/bin/env python3
"""Measures kernels with PyTorch and prints them as a table for `zebroid calibrate`.

  measure_kernels.py --gpu A40 'gemm m=4096 n=6144 k=4096' 'elementwise kernel=rms_norm bytes=33554432' > a40.csv

Kernels are written as `zebroid plan --strict measured` prints those that are missing. Run it on a machine with that
GPU; the time of each is the median of many runs."""

import argparse
import datetime
import math
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("measure_kernels.py needs PyTorch (pip install torch, or python3-torch)")

AXES = {
    "gemm": ["m", "n", "k"],
    "grouped_gemm": ["rows", "experts", "hidden", "ffn"],
    "attention": ["sequences", "sequence_length", "heads", "kv_heads", "head_dim"],
    "elementwise": ["bytes"],
}
COLUMNS = ["gpu", "op", "kernel", "dtype", "direction", *dict.fromkeys(a for axes in AXES.values() for a in axes),
           "time_us", "repeats", "scatter", "date"]
ROW = 4096  # width of rows of element-wise kernels
VOCABULARY = 32000
RUNS = 20  # between two events


def parse(text):
    op, *fields = text.split()
    if op not in AXES:
        sys.exit(f"'{text}': expected one of {', '.join(AXES)} first (collectives: nccl-tests measures them)")
    spec = {"op": op, "direction": "forward", "kernel": ""}
    for field in fields:
        key, _, value = field.partition("=")
        if key in AXES[op] and value.isdigit() and int(value) > 0:
            spec[key] = int(value)
        elif key == "kernel" or (key == "direction" and value in ("forward", "backward")):
            spec[key] = value
        else:
            sys.exit(f"'{text}': '{field}' is not one of {', '.join(AXES[op])} with a whole number above 0")
    missing = [axis for axis in AXES[op] if axis not in spec]
    if missing:
        sys.exit(f"'{text}' lacks {', '.join(missing)}")
    return spec


class Bench:
    def __init__(self, device, dtype, seconds):
        self.device = device
        self.dtype = dtype
        self.seconds = seconds

    def randn(self, *shape, grad=False):
        return torch.randn(*shape, device=self.device, dtype=self.dtype).requires_grad_(grad)

    def rows(self, spec, bytes_per_value):
        """[rows, ROW] as large as the kernel's bytes say; backward kernels move twice the bytes of forward ones."""
        moved = bytes_per_value * (2 if spec["direction"] == "backward" else 1)
        return max(1, math.ceil(spec["bytes"] / moved / ROW))

    def once(self, run):
        """Of one run, in us; on a GPU the mean of several, so that launching them is hidden behind running them."""
        if self.device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(RUNS):
                run()
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) * 1e3 / RUNS
        begin = time.perf_counter()
        run()
        return (time.perf_counter() - begin) * 1e6

    def measure(self, run):
        """Times in us of repeats that last for about self.seconds, 3 at least, after a warm-up."""
        for _ in range(3):
            run()
        deadline = time.perf_counter() + self.seconds
        times = []
        while len(times) < 3 or (time.perf_counter() < deadline and len(times) < 1000):
            times.append(self.once(run))
        return times

    def step(self, spec, function, *inputs):
        """The forward or the backward run of a function of tensors that need gradients."""
        if spec["direction"] == "forward":
            def forward():
                with torch.no_grad():
                    function(*inputs)
            return forward
        out = function(*inputs)
        gradient = torch.ones_like(out)
        return lambda: torch.autograd.grad(out, inputs, gradient, retain_graph=True)


def gemm(bench, spec):
    a, b = bench.randn(spec["m"], spec["k"]), bench.randn(spec["k"], spec["n"])
    out = bench.randn(spec["m"], spec["n"])
    return lambda: torch.mm(a, b, out=out)


def grouped_gemm(bench, spec):
    busy = min(spec["experts"], spec["rows"])  # experts without rows run nothing
    x = [bench.randn(spec["rows"] // busy + (e < spec["rows"] % busy), spec["hidden"], grad=True) for e in range(busy)]
    up = [bench.randn(spec["hidden"], 2 * spec["ffn"], grad=True) for _ in x]
    down = [bench.randn(spec["ffn"], spec["hidden"], grad=True) for _ in x]

    def layer(*_):
        out = []
        for rows, w1, w2 in zip(x, up, down):
            gate, value = (rows @ w1).chunk(2, -1)
            out.append((F.silu(gate) * value) @ w2)
        return torch.cat(out)
    return bench.step(spec, layer, *x, *up, *down)


def attention(bench, spec):
    shape = (spec["sequences"], spec["heads"], spec["sequence_length"], spec["head_dim"])
    # Keys and values as each head reads them: how they are shared is not timed.
    q, k, v = (bench.randn(*shape, grad=True) for _ in range(3))
    return bench.step(spec, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), q, k, v)


def rms_norm(bench, spec):
    x, weight = bench.randn(bench.rows(spec, 4), ROW, grad=True), bench.randn(ROW, grad=True)
    if hasattr(F, "rms_norm"):
        return bench.step(spec, lambda x, w: F.rms_norm(x, (ROW,), w), x, weight)
    return bench.step(spec, lambda x, w: F.layer_norm(x, (ROW,), w), x, weight)


def add(bench, spec):
    rows = max(1, math.ceil(spec["bytes"] / 6 / ROW))  # backward sums two gradients: the same kernel
    a, b, out = (bench.randn(rows, ROW) for _ in range(3))
    return lambda: torch.add(a, b, out=out)


def rope(bench, spec):
    x = bench.randn(bench.rows(spec, 4), ROW, grad=True)
    cos, sin = bench.randn(ROW // 2), bench.randn(ROW // 2)

    def rotate(x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    return bench.step(spec, rotate, x)


def silu_mul(bench, spec):
    gate, value = (bench.randn(bench.rows(spec, 6), ROW, grad=True) for _ in range(2))
    return bench.step(spec, lambda a, b: F.silu(a) * b, gate, value)


def scale(bench, spec):
    x, weight = bench.randn(bench.rows(spec, 4), ROW, grad=True), bench.randn(bench.rows(spec, 4), 1, grad=True)
    return bench.step(spec, lambda a, b: a * b, x, weight)


def permute(bench, spec):
    rows = bench.rows(spec, 4)
    x = bench.randn(rows, ROW, grad=True)
    order = torch.randperm(rows, device=bench.device)
    return bench.step(spec, lambda x: x.index_select(0, order), x)


def cross_entropy(bench, spec):
    # forward: half-precision logits in, single precision for the softmax; 12 and 6 bytes per logit
    per_logit = 12 if spec["direction"] == "forward" else 6
    rows = max(1, math.ceil(spec["bytes"] / per_logit / VOCABULARY))
    logits = bench.randn(rows, VOCABULARY, grad=True)
    target = torch.randint(VOCABULARY, (rows,), device=bench.device)
    return bench.step(spec, lambda x: F.cross_entropy(x.float(), target), logits)


def adamw(bench, spec):
    parameter = torch.zeros(max(1, spec["bytes"] // 30), device=bench.device, requires_grad=True)
    parameter.grad = torch.ones_like(parameter)
    options = {"fused": True} if bench.device == "cuda" else {}
    return torch.optim.AdamW([parameter], **options).step


ELEMENTWISE = {"rms_norm": rms_norm, "add": add, "rope": rope, "silu_mul": silu_mul, "scale": scale,
               "permute": permute, "group": permute, "embedding": permute, "cross_entropy": cross_entropy,
               "adamw": adamw}
KERNELS = {"gemm": gemm, "grouped_gemm": grouped_gemm, "attention": attention}


def kernel_of(spec):
    if spec["op"] != "elementwise":
        return KERNELS[spec["op"]]
    if spec["kernel"] not in ELEMENTWISE:
        sys.exit(f"unknown kernel '{spec['kernel']}' (known: {', '.join(ELEMENTWISE)})")
    return ELEMENTWISE[spec["kernel"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="+", metavar="KERNEL")
    parser.add_argument("--gpu", required=True, help="zebroid's name of this machine's GPU")
    parser.add_argument("--dtype", choices=("bf16", "fp16"), help="[bf16 where the GPU has it]")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the script")
    parser.add_argument("--seconds", type=float, default=0.3, help="per kernel [%(default)s]")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device here")
    bf16 = arguments.device == "cpu" or torch.cuda.is_bf16_supported()
    dtype = arguments.dtype or ("bf16" if bf16 else "fp16")
    bench = Bench(arguments.device, torch.bfloat16 if dtype == "bf16" else torch.float16, arguments.seconds)
    specs = [parse(text) for text in arguments.kernels]
    kernels = [kernel_of(spec) for spec in specs]
    print(",".join(COLUMNS))
    failed = False
    for text, spec, kernel in zip(arguments.kernels, specs, kernels):
        try:
            times = bench.measure(kernel(bench, spec))
        except (RuntimeError, AttributeError) as error:  # out of memory, no such kernel in this PyTorch
            print(f"not measured: {text}: {error}", file=sys.stderr)
            failed = True
            continue
        spec.update(gpu=arguments.gpu, dtype=dtype, kernel=spec["kernel"] or "torch", repeats=len(times),
                    time_us=f"{statistics.median(times):.3f}",
                    scatter=f"{statistics.pstdev(times) / statistics.mean(times):.3f}",
                    date=datetime.date.today().isoformat())
        print(",".join(str(spec.get(column, "")) for column in COLUMNS), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
