#!/usr/bin/env python3
"""Hugging Face transformers as a backend: PyTorch, a static cache, and a token as a CUDA graph or a compiled step.

Needs torch, transformers 5, gguf and accelerate. It reads the arm's own GGUF file, dequantised by transformers, so both sides of a
comparison read one file by its hash. See ../protocol/README.md.

The cache is always static: keys and values of `context` positions, made once, so that a step has the same shapes and addresses
every time. What else is done with a step is an option of the arm:

    cuda_graph: false                  PyTorch launches kernel after kernel; all that `device: cpu` can do
    cuda_graph: true                   a step is captured once and replayed for every token; the default on the GPU
    compile: true                      torch.compile fuses the step first, and what it makes is launched or captured as above

beside `device` (cuda, cpu), `dtype` (float16, bfloat16, float32), `attention` (sdpa, eager), `context` and `threads`.
"""
import functools
import json
import os
import queue
import resource
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version

METRICS = ["decode_rate", "prefill_rate", "time_to_first_token", "inter_token_latency_p99", "load_time",
           "peak_host_memory", "peak_device_memory"]
DEFAULTS = {"device": "cuda", "dtype": "float16", "cuda_graph": None, "compile": False, "attention": "sdpa",
            "context": 1024, "threads": None}
LONG_ARRAY = 4096  # Longer than any that is not of a vocabulary.
WARM_STEPS = 3  # A captured step must have run before: libraries make their workspaces and kernels in the first ones.


class Failure(Exception):
    """An answer of the kinds that the protocol knows: `blocked`, `unsupported`, `invalid`, `failed`."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def checked(options):
    """The options with their defaults, each of a kind and value that makes sense."""
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise Failure("unsupported", f"unknown option `{unknown[0]}`; there are {', '.join(DEFAULTS)}")
    options = {**DEFAULTS, **options}
    if options["cuda_graph"] is None:
        options["cuda_graph"] = options["device"] == "cuda"
    count = lambda value: type(value) is int and value > 0
    for name, fits, wanted in [
        ("device", options["device"] in ("cuda", "cpu"), "`cuda` or `cpu`"),
        ("dtype", options["dtype"] in ("float16", "bfloat16", "float32"), "`float16`, `bfloat16` or `float32`"),
        ("cuda_graph", type(options["cuda_graph"]) is bool, "`true` or `false`"),
        ("compile", type(options["compile"]) is bool, "`true` or `false`"),
        ("attention", options["attention"] in ("sdpa", "eager"), "`sdpa` or `eager`"),
        ("context", count(options["context"]), "a whole number above 0"),
        ("threads", options["threads"] is None or count(options["threads"]), "a whole number above 0"),
    ]:
        if not fits:
            raise Failure("unsupported", f"{name}: {options[name]!r} is not {wanted}")
    if options["cuda_graph"] and options["device"] != "cuda":
        raise Failure("unsupported", "cuda_graph: needs `device: cuda`")
    return options


def installed(package):
    """A package's version, without importing it: `hello` is to be quick."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def quicken(gguf):
    """Has files read once, and without the text of a vocabulary: ids are all that is said here, and transformers spends longer on
    making each token an object, twice, than on the weights."""
    array, string = gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING

    class Reader(gguf.GGUFReader):
        def _get_field_parts(self, begin, kind):
            # An array is the kind of its items, their number, and the items.
            count = int(self._get(begin + 4, "uint64")[0]) if kind == array else 0
            if count < LONG_ARRAY:
                return super()._get_field_parts(begin, kind)
            size, parts, values, types = super()._get_field_parts(begin + 12, self._get(begin, "uint32")[0])
            end = begin + 12
            if types[0] == string:
                data = memoryview(self.data)
                for _ in range(count):
                    end += 8 + int.from_bytes(data[end:end + 8], "little")
            else:
                end += count * size
            # As many as there are, since they are counted; each is the first.
            return end - begin, parts, values * count, [array, *types]

    gguf.GGUFReader = functools.cache(Reader)
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)


class Transformers:
    """A model in PyTorch, a cache of fixed size, and one step of decoding."""

    def hello(self, request):
        versions = {package: installed(package) for package in ("torch", "transformers", "gguf", "accelerate")}
        yield {"type": "hello", "protocol": 1, "name": "transformers", "version": versions["transformers"],
               "build": {**versions, "python": sys.version.split()[0]},
               "capabilities": {"metrics": METRICS, "tokens": "timed", "score": True}}

    def prepare(self, request):
        options = checked(request["options"])
        if "model" not in request:
            raise Failure("unsupported", "the arm needs a model: a GGUF file")
        begin = time.monotonic_ns()
        global torch
        try:
            import torch
            import accelerate  # Not used here; transformers loads with it.
            import gguf
            from transformers import AutoModelForCausalLM, StaticCache
        except ImportError as problem:
            raise Failure("blocked", f"{problem}: `pip install torch transformers gguf accelerate`") from problem
        if options["device"] == "cuda" and not torch.cuda.is_available():
            raise Failure("blocked", "PyTorch sees no CUDA device: run where there is one, or set `device: cpu`")
        if options["threads"]:
            torch.set_num_threads(options["threads"])
        torch.set_grad_enabled(False)
        quicken(gguf)
        folder, name = os.path.split(request["model"]["path"])
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=name, dtype=getattr(torch, options["dtype"]), attn_implementation=options["attention"],
            local_files_only=True).to(options["device"]).eval()
        self.options, self.forward = options, self.model.forward
        self.cache = StaticCache(config=self.model.config, max_cache_len=options["context"])
        whole = lambda *shape: torch.zeros(shape, dtype=torch.long, device=options["device"])
        self.token, self.position = whole(1, 1), whole(1, 1)
        self.columns = torch.arange(options["context"], device=options["device"])
        self.graph, self.replays = None, 0
        self.warm(options)
        if options["device"] == "cuda":
            torch.cuda.synchronize()
        yield {"type": "prepared", "resolved": {**options, "threads": torch.get_num_threads()},
               "load_ns": time.monotonic_ns() - begin, "memory": self.memory(), "device": self.device()}

    def warm(self, options):
        """Compiles the step and captures it, where that was asked for."""
        if options["compile"]:
            self.forward = torch.compile(self.model.forward, fullgraph=True, dynamic=False)
        self.prefill([0])
        if not options["cuda_graph"]:
            return self.step()
        side = torch.cuda.Stream()  # Capture begins on a stream that is not the default one.
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(min(WARM_STEPS, options["context"] - 2)):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()

    def prefill(self, prompt):
        """Evaluates a prompt from an empty cache; leaves the likeliest next token and its position on the device."""
        self.cache.reset()
        ids = torch.tensor([prompt], device=self.token.device)
        rows = torch.arange(len(prompt), device=self.token.device)
        mask = (self.columns[None, :] <= rows[:, None])[None, None]
        logits = self.model(input_ids=ids, position_ids=rows[None], attention_mask=mask, past_key_values=self.cache,
                            use_cache=True, logits_to_keep=1).logits
        self.token.copy_(logits[:, -1:].argmax(-1))
        self.position.fill_(len(prompt))

    def step(self):
        """One single-token forward pass, all of it on the device: token and position are read and written in place."""
        mask = (self.columns <= self.position)[None, None]
        logits = self.forward(input_ids=self.token, position_ids=self.position, attention_mask=mask,
                              past_key_values=self.cache, use_cache=True).logits
        self.token.copy_(logits[:, -1:].argmax(-1))
        self.position.add_(1)

    def advance(self):
        if self.graph is None:
            return self.step()
        self.graph.replay()
        self.replays += 1

    def run(self, request):
        if request.get("sampling", "greedy") != "greedy":
            raise Failure("unsupported", "this backend is greedy")
        prompt, wanted = request["prompt"], request["generate_tokens"]
        if not prompt or len(prompt) + wanted > self.options["context"]:
            raise Failure("unsupported", f"the workload needs a context of {len(prompt) + wanted} tokens and there are "
                                         f"{self.options['context']}: set the option `context`")
        ends = set()
        if not request.get("ignore_eos", False):
            end = self.model.config.eos_token_id
            ends = set(end if isinstance(end, list) else [end])
        for index in range(request["warmup"] + request["iterations"]):
            self.replays, tokens, clock = 0, [], [time.monotonic_ns()]
            self.prefill(prompt)
            while True:
                tokens.append(self.token.item())  # Waits for the device: the id is on the host when the clock is read.
                clock.append(time.monotonic_ns())
                if len(tokens) == wanted or tokens[-1] in ends:
                    break
                self.advance()
            token_ns = [after - before for before, after in zip(clock[1:], clock[2:])]
            witness = {"positions": len(token_ns)}
            if self.options["device"] == "cuda":
                witness.update(graph_replays=self.replays, streams=1)
            yield {"type": "sample", "index": index, "warmup": index < request["warmup"],
                   "prefill_ns": clock[1] - clock[0], "decode_ns": sum(token_ns) or None, "token_ns": token_ns,
                   "decode_tokens": len(token_ns), "prompt_tokens": len(prompt), "tokens": tokens,
                   "token_source": "timed", "witness": witness, "memory": self.memory()}
        yield {"type": "done"}

    def score(self, request):
        context, first, top = request["context"], request["first"], request["top"]
        for begin in range(0, len(request["tokens"]) - context + 1, context):
            window = torch.tensor([request["tokens"][begin:begin + context]], device=self.token.device)
            logits = self.model(input_ids=window, use_cache=False).logits[0, first - 1:context - 1]
            beliefs = logits.double().log_softmax(-1).cpu()
            best = beliefs.topk(min(top, beliefs.shape[-1]), dim=-1)
            rest = beliefs.scatter(-1, best.indices, float("-inf")).exp().sum(-1)
            for row, offset in enumerate(range(first, context)):
                yield {"type": "score", "index": begin + offset,
                       "nll": max(0.0, -beliefs[row, request["tokens"][begin + offset]].item()),
                       "top": list(zip(best.indices[row].tolist(), best.values[row].tolist())),
                       "tail": rest[row].item()}
        yield {"type": "done"}

    def device(self):
        if self.options["device"] == "cpu":
            return {"kind": "cpu", "name": "PyTorch on the processor"}
        card = torch.cuda.get_device_properties(0)
        uuid = getattr(card, "uuid", None)
        return {"kind": "gpu", "name": card.name, **({"uuid": f"GPU-{uuid}"} if uuid else {})}

    def memory(self):
        peak = {"host_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        if self.options["device"] == "cuda":
            peak["device_peak_bytes"] = torch.cuda.max_memory_reserved()
        return peak


def requests():
    """Requests, up to `bye`. When the input ends without one nobody is left to answer to, whatever is being computed."""
    arrived = queue.Queue()

    def read():
        for line in sys.stdin:
            request = json.loads(line)
            arrived.put(request)
            if request["type"] == "bye":
                return
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return iter(arrived.get, None)


def main():
    # Standard output is for replies alone: whatever a library prints goes where logs go.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    backend = Transformers()
    answers = {"hello": backend.hello, "prepare": backend.prepare, "run": backend.run, "score": backend.score}
    for request in requests():
        if request["type"] == "bye":
            os._exit(0)  # Every reply is flushed, and PyTorch takes seconds to tidy up.
        say = lambda reply: print(json.dumps({"id": request["id"], **reply}), file=replies, flush=True)
        try:
            if request["type"] not in answers:
                raise Failure("unsupported", f"this backend does not answer `{request['type']}`")
            for reply in answers[request["type"]](request):
                say(reply)
        except Failure as failure:
            say({"type": "error", "kind": failure.kind, "message": str(failure)})
        except Exception as problem:  # Whatever PyTorch or transformers raise is a result to report.
            say({"type": "error", "kind": "failed", "message": f"{type(problem).__name__}: {problem}"})


if __name__ == "__main__":
    main()
