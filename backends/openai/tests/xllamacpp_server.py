"""The llama-server inside the wheel `xllamacpp`, on one slot: xllamacpp_server.py MODEL PORT, with the wheel in QA_XLLAMACPP."""
import os
import sys
import threading

sys.path.insert(0, os.environ["QA_XLLAMACPP"])
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port = sys.argv[1], ["127.0.0.1"], int(sys.argv[2])
params.n_ctx, params.n_parallel = 256, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # Two that wait for each other want two idle processors.
server = xllamacpp.Server(params)  # It serves from a thread of its own, for as long as it is referred to.
threading.Event().wait()
