"""Whether PyTorch, as installed here, multiplies with a BLAS that somebody made fast."""
import sys


def refuse_reference():
    """Ends the program where it is the reference BLAS, plain loops: a ratio against those says nothing. Call after importing torch."""
    with open("/proc/self/maps") as maps:
        if any("/blas/libblas.so" in line for line in maps):
            sys.exit("PyTorch computes with the reference BLAS here: install libopenblas0-pthread to compare with it")
