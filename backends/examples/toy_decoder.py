#!/usr/bin/env python3
"""A whole backend: a small recurrent decoder in plain Python, honestly timed. See ../protocol/README.md."""
import json
import math
import random
import sys
import time

VOCABULARY = 256
METRICS = ["decode_rate", "prefill_rate", "time_to_first_token", "inter_token_latency_p99", "load_time"]


class Toy:
    def hello(self, request):
        yield {"type": "hello", "protocol": 1, "name": "toy-decoder", "version": "1",
               "build": {"python": sys.version.split()[0]}, "capabilities": {"metrics": METRICS, "tokens": "timed"}}

    def prepare(self, request):
        options = {"hidden": 32, "seed": 1, **request["options"]}
        if len(options) > 2 or type(options["hidden"]) is not int or options["hidden"] < 1:
            raise ValueError("the options are `hidden` (a whole number above 0) and `seed`, and nothing else")
        begin, self.hidden, draw = time.monotonic_ns(), options["hidden"], random.Random(options["seed"]).gauss
        self.embed, self.recur, self.unembed = (
            [[draw(0, self.hidden**-0.5) for _ in range(self.hidden)] for _ in range(rows)]
            for rows in (VOCABULARY, self.hidden, VOCABULARY))
        yield {"type": "prepared", "resolved": options, "load_ns": time.monotonic_ns() - begin,
               "device": {"kind": "cpu", "name": "Python"}}

    def run(self, request):
        if request.get("sampling", "greedy") != "greedy":
            raise ValueError("this decoder is greedy")
        for index in range(request["warmup"] + request["iterations"]):
            state, tokens, clock = [0.0] * self.hidden, [], [time.monotonic_ns()]
            for token in request["prompt"]:
                state, token = self.step(state, token)
            while True:
                tokens.append(token)  # Now the host can see the id: this is when the clock is read.
                clock.append(time.monotonic_ns())
                if len(tokens) == request["generate_tokens"]:
                    break
                state, token = self.step(state, token)
            token_ns = [after - before for before, after in zip(clock[1:], clock[2:])]
            yield {"type": "sample", "index": index, "warmup": index < request["warmup"],
                   "prefill_ns": clock[1] - clock[0], "decode_ns": sum(token_ns) or None, "token_ns": token_ns,
                   "decode_tokens": len(token_ns), "prompt_tokens": len(request["prompt"]), "tokens": tokens,
                   "token_source": "timed"}
        yield {"type": "done"}

    def step(self, state, token):
        """One single-token forward pass: the next state and the likeliest next token; the lowest id wins a tie."""
        embedded = self.embed[token % VOCABULARY]
        state = [math.tanh(e + sum(map(float.__mul__, row, state))) for e, row in zip(embedded, self.recur)]
        logits = [sum(map(float.__mul__, row, state)) for row in self.unembed]
        return state, logits.index(max(logits))


toy = Toy()
for line in sys.stdin:  # The end of the input is a goodbye too.
    request = json.loads(line)
    if request["type"] == "bye":
        break
    try:
        for reply in getattr(toy, request["type"])(request):
            print(json.dumps({"id": request["id"], **reply}), flush=True)
    except (AttributeError, ValueError) as problem:
        failure = {"type": "error", "kind": "unsupported", "message": str(problem)}
        print(json.dumps({"id": request["id"], **failure}), flush=True)
