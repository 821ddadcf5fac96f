"""A real server for the judge's test: llama.cpp's own HTTP server, from the package xllamacpp, on a free port.

Prints where it listens, and serves until it is killed.
"""

import sys
import time

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx = 8192
parameters.n_parallel = 2
parameters.port = 0
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
while True:
    time.sleep(60)
