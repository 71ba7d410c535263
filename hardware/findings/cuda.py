"""CUDA's own libraries, known by their names."""

import re

from longshore.hardware.findings.kinds import Library

_LIBRARY = re.compile(
    r"(?P<name>lib(?:cuda|cudart|cublas|cublasLt|cudnn\w*|cufft\w*|cufile\w*|cupti|curand"
    r"|cusolver\w*|cusparse\w*|nccl|npp\w*|nvblas|nvinfer\w*|nvjitlink|nvjpeg|nvonnxparser"
    r"|nvrtc\w*|nvshmem\w*|nvToolsExt|nvvm))"
    # Tools that mend wheels put a digest behind the name: libcudart-9335f6a2.so.12
    r"(?:-[0-9a-f]{6,})?\.so(?:\.(?P<version>[0-9]+(?:\.[0-9]+)*))?",
    re.IGNORECASE,
)
_LONGEST_VERSION = 32


def library(path: str) -> Library | None:
    """Return which of them a file is; None where it is none."""
    match = _LIBRARY.fullmatch(path.rpartition("/")[2])
    if not match:
        return None
    version = (match["version"] or "")[:_LONGEST_VERSION]
    return Library(path=path, name=match["name"], version=version)
