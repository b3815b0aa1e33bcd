"""Files that gavel quantize writes have the perplexity of llama-quantize's in llama.cpp, and nearly the same in gavel itself (bench/perplexity.py)."""
import os
import subprocess
import sys

import support
from support import ROOT, Skip

CHUNKS, ENGINE_CHUNKS = 24, 2


def perplexity(kind):
    if not os.environ.get("GAVEL_LONG"):
        raise Skip("it takes minutes; set GAVEL_LONG")
    if not os.path.exists(support.SMOLLM2):
        raise Skip("%s is not in the cache (script/fetch.py)" % support.SMOLLM2)
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bench", "perplexity.py"), "--built", "--gavel", support.GAVEL, "--model", support.SMOLLM2,
                           "--types", kind, "--chunks", str(CHUNKS), "--engine-chunks", str(ENGINE_CHUNKS)], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        raise Skip(done.stdout.strip())
    print(done.stdout, end="")
    assert done.returncode == 0, done.stderr


def q4_k_m_has_the_perplexity_of_llama_quantizes_file(_):
    perplexity("q4_k_m")


def q6_k_has_the_perplexity_of_llama_quantizes_file(_):
    perplexity("q6_k")


support.main([q4_k_m_has_the_perplexity_of_llama_quantizes_file, q6_k_has_the_perplexity_of_llama_quantizes_file])
