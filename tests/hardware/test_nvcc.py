"""What NVIDIA's own compiler writes is read as what it was asked for."""

import shutil
import subprocess

import pytest
from parts.layers import tar

from longshore.hardware.bounds import ImagesSettings
from longshore.hardware.findings.device_code import FatBinaries
from longshore.hardware.findings.kinds import DeviceCode
from longshore.hardware.layers import Shelf
from longshore.hardware.tar import TarReader

SOURCE = "__global__ void twice(float *x) { x[threadIdx.x] *= 2; }"
ASKED = {
    "arch=compute_80,code=sm_80": "sass",
    "arch=compute_90,code=sm_90": "sass",
    "arch=compute_90a,code=sm_90a": "sass",
    "arch=compute_90a,code=compute_90a": "ptx",
    "arch=compute_100f,code=sm_100f": "sass",
    "arch=compute_103,code=sm_103": "sass",
    "arch=compute_120,code=compute_120": "ptx",
    "arch=compute_120a,code=sm_120a": "sass",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A shared library with code for many GPUs."""
    nvcc = shutil.which("nvcc")
    if not nvcc:
        pytest.skip("no nvcc on PATH")
    folder = tmp_path_factory.mktemp("nvcc")
    (folder / "twice.cu").write_text(SOURCE)
    targets = [word for asked in ASKED for word in ("-gencode", asked)]
    # To link, the rest of the toolkit would have to be there; an object is an ELF file, too.
    done = subprocess.run(
        [nvcc, "-c", "-Xcompiler", "-fPIC", *targets, "-o", "twice.o", "twice.cu"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"this nvcc does not know all of them: {done.stderr[:200]}")
    return (folder / "twice.o").read_bytes()


def test_each_target_is_found_and_no_other(library: bytes) -> None:
    shelf = Shelf(ImagesSettings())
    TarReader(shelf).feed(tar({"twice.o": library}))
    [found] = shelf.findings
    assert isinstance(found, DeviceCode)
    assert found.sass == ("80", "90", "90a", "100f", "103", "120a")
    assert found.ptx == ("90a", "120")


@pytest.mark.parametrize("step", [1, 7, 100, 4096])
def test_they_are_found_however_the_file_comes(library: bytes, step: int) -> None:
    told: list[DeviceCode] = []
    reader = FatBinaries("twice.o", told.append)
    for at in range(0, len(library), step):
        reader.feed(library, at, min(at + step, len(library)))
    reader.close()
    assert [(each.sass, each.ptx) for each in told] == [
        (("80", "90", "90a", "100f", "103", "120a"), ("90a", "120"))
    ]
