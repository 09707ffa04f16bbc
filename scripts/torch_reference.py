#!/usr/bin/python3
"""Checks a loss and its gradients of the host backend against PyTorch's autograd, in float64.

    torch_reference.py step.json

The file holds a model, whole sequences, every parameter, and what the backend made of them:

    {"model": {"hidden": 8, "vocabulary": 11, "heads": 2, "kv_heads": 1, "head_dim": 4,
               "experts": 4, "top_k": 2, "expert_ffn": 6,
               "layers": [{"dense_ffn": 0, "shared_ffn": 0, "has_experts": true,
                           "window": 0, "chunked": false}]},
     "sequence_length": 16,
     "ids": [[...], ...], "targets": [[...], ...],       one list for each sequence
     "parameters": {name: [...]},                        row-major
     "loss": 2.4, "gradients": {name: [...]}}            of the mean loss of all tokens

Names, with shapes, for each layer L and expert E:

    layerL.attention_norm [hidden]             layerL.query  [hidden, heads * head_dim]
    layerL.key   [hidden, kv_heads * head_dim] layerL.value  [hidden, kv_heads * head_dim]
    layerL.output [heads * head_dim, hidden]   layerL.ffn_norm [hidden]
    layerL.router [hidden, experts]            where the layer has experts
    layerL.gate, layerL.up [hidden, ffn], layerL.down [ffn, hidden]
                                               where ffn = dense_ffn + shared_ffn is not 0
    layerL.expertE.gate, layerL.expertE.up [hidden, expert_ffn], layerL.expertE.down
    layer0.embedding [vocabulary, hidden]      the first layer alone
    layerL.final_norm [hidden], layerL.head [hidden, vocabulary]    the last layer alone

Prints max |a - b| / max |b| of the loss and of each gradient. Exits 1 when any is above 1e-10, 77 when
PyTorch or the file is absent.
"""

import argparse
import json
import math
import pathlib
import sys

TOLERANCE = 1e-10
ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-5
SKIPPED = 77

try:
    import torch
except ImportError:
    torch = None


def rms_norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPSILON) * weight


def swiglu(x, gate, up, down):
    return (torch.nn.functional.silu(x @ gate) * (x @ up)) @ down


def rope(x):
    """[..., positions, head_dim], in pairs (i, i + head_dim / 2)."""
    length, width = x.shape[-2:]
    frequencies = ROPE_BASE ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
    angles = torch.outer(torch.arange(length, dtype=x.dtype), frequencies)
    cosines, sines = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


def mask(length, window, chunked):
    """[query, key], true where the query sees the key."""
    query = torch.arange(length)[:, None]
    key = torch.arange(length)[None, :]
    causal = key <= query
    if window == 0:
        return causal
    if chunked:
        return causal & (query.div(window, rounding_mode="floor") == key.div(window, rounding_mode="floor"))
    return causal & (query - key < window)


class Model:
    def __init__(self, model, parameters):
        self.model = model
        self.parameters = parameters

    def shape(self, name):
        model = self.model
        layer = model["layers"][int(name.split(".")[0][len("layer"):])]
        hidden, vocabulary = model["hidden"], model["vocabulary"]
        queries = model["heads"] * model["head_dim"]
        keys = model["kv_heads"] * model["head_dim"]
        ffn = model["expert_ffn"] if ".expert" in name else layer["dense_ffn"] + layer["shared_ffn"]
        return {"embedding": (vocabulary, hidden), "attention_norm": (hidden,), "query": (hidden, queries),
                "key": (hidden, keys), "value": (hidden, keys), "output": (queries, hidden),
                "ffn_norm": (hidden,), "router": (hidden, model["experts"]), "gate": (hidden, ffn),
                "up": (hidden, ffn), "down": (ffn, hidden), "final_norm": (hidden,),
                "head": (hidden, vocabulary)}[name.split(".")[-1]]

    def get(self, layer, name):
        return self.parameters[f"layer{layer}.{name}"]

    def heads(self, x, count):
        """[sequences, length, count * head_dim] to [sequences, count, length, head_dim]."""
        return x.unflatten(-1, (count, self.model["head_dim"])).transpose(1, 2)

    def attention(self, index, x):
        model, layer = self.model, self.model["layers"][index]
        heads, kv_heads = model["heads"], model["kv_heads"]
        query = rope(self.heads(x @ self.get(index, "query"), heads))
        key = rope(self.heads(x @ self.get(index, "key"), kv_heads))
        value = self.heads(x @ self.get(index, "value"), kv_heads)
        key = key.repeat_interleave(heads // kv_heads, dim=1)
        value = value.repeat_interleave(heads // kv_heads, dim=1)
        scores = query @ key.transpose(-1, -2) / math.sqrt(model["head_dim"])
        seen = mask(x.shape[1], layer["window"], layer["chunked"])
        shares = scores.masked_fill(~seen, -math.inf).softmax(-1)
        attended = (shares @ value).transpose(1, 2).flatten(-2)
        return attended @ self.get(index, "output")

    def experts(self, index, x):
        """Every expert on all tokens, each weighed by 0 where it was not chosen."""
        logits = x @ self.get(index, "router")
        best, chosen = logits.topk(self.model["top_k"], dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, chosen, best.softmax(-1))
        out = torch.zeros_like(x)
        for expert in range(self.model["experts"]):
            matrices = [self.get(index, f"expert{expert}.{name}") for name in ("gate", "up", "down")]
            out = out + weights[..., expert:expert + 1] * swiglu(x, *matrices)
        return out

    def loss(self, ids, targets):
        x = self.get(0, "embedding")[ids]
        for index, layer in enumerate(self.model["layers"]):
            x = x + self.attention(index, rms_norm(x, self.get(index, "attention_norm")))
            normed = rms_norm(x, self.get(index, "ffn_norm"))
            if layer["dense_ffn"] + layer["shared_ffn"] > 0:
                x = x + swiglu(normed, *(self.get(index, name) for name in ("gate", "up", "down")))
            if layer["has_experts"]:
                x = x + self.experts(index, normed)
        last = len(self.model["layers"]) - 1
        logits = rms_norm(x, self.get(last, "final_norm")) @ self.get(last, "head")
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def difference(a, b):
    """max |a - b| / max |b|; the plain max |a - b| where b is all zero; infinite where not a number."""
    if a.shape != b.shape:
        return math.inf
    apart = float((a - b).abs().max())
    scale = float(b.abs().max())
    if math.isnan(apart) or math.isnan(scale):
        return math.inf
    return apart / scale if scale > 0 else apart


def differences(step):
    """{"loss" or name: difference}."""
    model = Model(step["model"], {})
    for name, values in step["parameters"].items():
        tensor = torch.tensor(values, dtype=torch.float64).reshape(model.shape(name))
        model.parameters[name] = tensor.requires_grad_()
    ids, targets = torch.tensor(step["ids"]), torch.tensor(step["targets"])
    expected = (len(step["ids"]), step["sequence_length"])
    if tuple(ids.shape) != expected or tuple(targets.shape) != expected:
        sys.exit(f"ids and targets are to be {expected[0]} sequences of {expected[1]} tokens")
    if set(step["gradients"]) != set(step["parameters"]):
        sys.exit("there is to be one gradient for each parameter")
    loss = model.loss(ids, targets)
    loss.backward()
    out = {"loss": difference(torch.tensor(step["loss"], dtype=torch.float64), loss.detach())}
    for name, parameter in model.parameters.items():
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        given = torch.tensor(step["gradients"][name], dtype=torch.float64)
        out[name] = difference(given, gradient.flatten())
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", type=pathlib.Path, help="a JSON file as above")
    arguments = parser.parse_args()
    if torch is None:
        print("skipped: PyTorch is not installed (Debian: python3-torch)")
        return SKIPPED
    if not arguments.step.is_file():
        print(f"skipped: {arguments.step} is not there")
        return SKIPPED
    torch.set_num_threads(1)  # few, small products
    found = differences(json.loads(arguments.step.read_text()))
    for name, value in found.items():
        print(f"{name:28} {value:.3e}{'' if value <= TOLERANCE else '  too far'}")
    worst = max(found, key=found.get)
    print(f"largest: {found[worst]:.3e} ({worst})")
    return 0 if found[worst] <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
