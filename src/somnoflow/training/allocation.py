"""How the C library hands out memory: kept between the steps of a training."""

import ctypes
import platform

# Of malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEPT = 2**31 - 1  # bytes; the most that mallopt takes


def keep_memory() -> bool:
    """Let glibc keep what a step frees for the next step; tell whether it does.

    A batch of 64 epochs has feature maps of 45 MB. Above 32 MiB glibc takes each block from the
    kernel and gives it back when it is freed, and the kernel fills every page with zeros, step
    after step, which costs more than many of the operations on them. Kept, the peak stays what it
    was and the memory between steps stays at the peak. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(M_MMAP_THRESHOLD, KEPT), mallopt(M_TRIM_THRESHOLD, KEPT)])
