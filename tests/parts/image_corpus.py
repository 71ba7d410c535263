"""Images whose facts are known, because they were made so: what inspection is measured by.

A value that is left out must not be told: where nothing is known for sure, silence is right.
"""

from functools import partial

from parts.image_cases import (
    ONNXRUNTIME,
    VENV,
    WHEELS,
    XGBOOST,
    Case,
    enormous,
    packages,
    plain,
    torch,
    wheel,
)
from parts.image_materials import (
    CONFIG,
    CUDA_BASE,
    CUDA_ENV,
    LLAMA,
    NUMPY,
    ONNX_FILES,
    SKLEARN,
    XGBOOST_FILES,
)
from parts.layers import (
    SITE,
    chunked,
    conda_package,
    elf,
    fat_binary,
    gguf,
    gzipped,
    many_gzips,
    package,
    safetensors,
    tar,
    zstandard,
)

CASES = [
    Case(
        "scikit-learn alone",
        plain(SKLEARN),
        {
            "gpu_need": "none",
            "packages": packages(("numpy", "2.3.1"), ("scikit-learn", "1.7.0")),
            "weights": [("app/model.joblib", "pickle", {})],
        },
    ),
    Case(
        "torch +cpu",
        plain({**torch("2.14.1", "+cpu"), f"{SITE}/torch/lib/libtorch_cpu.so": elf()}),
        {"gpu_need": "none", "packages": packages(("torch", "2.14.1+cpu"))},
    ),
    Case(
        "torch +cu126",
        plain(
            {
                **torch("2.9.0", "+cu126"),
                f"{SITE}/torch/lib/libtorch_cuda.so": elf(fat_binary(["80", "90a"], ["90"])),
            }
        ),
        {
            "gpu_need": "optional",
            "cuda_version": "12.6",
            "min_driver": 525,
            "sm_sass": {"torch": ["80", "90a"]},
            "sm_ptx": {"torch": ["90"]},
            "packages": packages(("torch", "2.9.0+cu126")),
        },
    ),
    Case(
        "torch without a suffix, from PyPI, of CUDA 13",
        plain(torch("2.14.1")),
        {
            "gpu_need": "optional",
            "cuda_version": "13.0",
            "min_driver": 580,
            "packages": packages(("torch", "2.14.1")),
        },
    ),
    Case(
        "torch without a suffix, of CUDA 12, with CUDA's packages",
        plain(
            torch("2.5.1"),
            package("nvidia-cuda-runtime-cu12", "12.4.127", owns=["nvidia"])
            | {f"{SITE}/nvidia/cuda_runtime/lib/libcudart.so.12": elf()},
        ),
        {
            "gpu_need": "optional",
            "cuda_version": "12.4",
            "min_driver": 525,
            "packages": packages(("torch", "2.5.1"), ("nvidia-cuda-runtime-cu12", "12.4.127")),
        },
    ),
    Case(
        "torch without a suffix on arm64, where CUDA is for x86-64 alone",
        plain({**torch("2.9.0"), f"{SITE}/torch/lib/libtorch_cpu.so": elf()}),
        {"gpu_need": "none", "packages": packages(("torch", "2.9.0"))},
        architecture="arm64",
    ),
    Case(
        "a torch that a later layer deletes",
        lambda: [
            gzipped(
                tar({**torch("2.14.1"), **NUMPY, f"{SITE}/torch/lib/a.so": elf(fat_binary("5"))})
            ),
            gzipped(tar({f"{SITE}/.wh.torch": b"", f"{SITE}/.wh.torch-2.14.1.dist-info": b""})),
        ],
        {"gpu_need": "none", "packages": packages(("numpy", "2.3.1"))},
    ),
    Case(
        "a folder that a later layer empties and fills again",
        lambda: [
            zstandard(tar({**torch("2.5.1", site=VENV), **package("flask", "3.0", site=VENV)})),
            gzipped(
                tar(
                    {
                        f"{VENV}/.wh..wh..opq": b"",
                        **torch("2.9.0", "+cpu", site=VENV),
                    }
                )
            ),
        ],
        {"gpu_need": "none", "packages": packages(("torch", "2.9.0+cpu"))},
    ),
    Case(
        "a later layer's version of the same file",
        lambda: [
            gzipped(tar({"app/model.safetensors": LLAMA})),
            tar({"app/model.safetensors": safetensors({"c": ("F16", [7], 14)})}),
        ],
        {"gpu_need": "none", "weights": [("app/model.safetensors", "safetensors", {"F16": 7})]},
    ),
    Case(
        "two Pythons",
        plain(torch("2.5.1"), torch("2.9.0", "+cpu", site=VENV)),
        {
            "gpu_need": "optional",
            "cuda_version": "12.4",
            "min_driver": 525,
            "packages": packages(("torch", "2.5.1"), ("torch", "2.9.0+cpu")),
        },
    ),
    Case(
        "CUDA's base image with nothing in it",
        plain(CUDA_BASE),
        {"gpu_need": "unknown", "cuda_version": "12.4.1", "min_driver": 525},
        env=CUDA_ENV,
    ),
    Case(
        "CUDA's base image with scikit-learn in it",
        plain(CUDA_BASE, SKLEARN),
        {
            "gpu_need": "unknown",
            "cuda_version": "12.4.1",
            "min_driver": 525,
            "packages": packages(("numpy", "2.3.1"), ("scikit-learn", "1.7.0")),
            "weights": [("app/model.joblib", "pickle", {})],
        },
        env=CUDA_ENV,
    ),
    Case(
        "CUDA's libraries without the environment",
        plain(CUDA_BASE),
        {"gpu_need": "unknown", "cuda_version": "12.4", "min_driver": 525},
    ),
    Case(
        "xgboost, made by hand",
        plain(XGBOOST_FILES),
        {
            "gpu_need": "optional",
            "sm_sass": {"xgboost": list(XGBOOST)},
            "sm_ptx": {"xgboost": ["120"]},
            "packages": packages(("xgboost", "3.2.0")),
        },
    ),
    Case(
        "onnxruntime-gpu, made by hand, beside xgboost",
        plain({**XGBOOST_FILES, **ONNX_FILES}),
        {
            "gpu_need": "optional",
            "sm_sass": {"onnxruntime-gpu": list(ONNXRUNTIME), "xgboost": list(XGBOOST)},
            "sm_ptx": {"xgboost": ["120"]},
            "packages": packages(("xgboost", "3.2.0"), ("onnxruntime-gpu", "1.31.1")),
        },
    ),
    Case(
        "a server in C++ with code for GPUs",
        plain({"usr/local/bin/server": elf(fat_binary(["86"], ["86"]))}),
        {
            "gpu_need": "optional",
            "sm_sass": {"/usr/local/bin/server": ["86"]},
            "sm_ptx": {"/usr/local/bin/server": ["86"]},
        },
    ),
    Case(
        "vllm, which runs on GPUs alone",
        plain({**torch("2.9.0"), **package("vllm", "0.11.0", owns=["vllm"])}),
        {
            "gpu_need": "required",
            "cuda_version": "12.8",
            "min_driver": 525,
            "packages": packages(("torch", "2.9.0"), ("vllm", "0.11.0")),
        },
    ),
    Case(
        "vllm for CPUs",
        plain({**torch("2.9.0", "+cpu"), **package("vllm", "0.11.0+cpu", owns=["vllm"])}),
        {
            "gpu_need": "none",
            "packages": packages(("torch", "2.9.0+cpu"), ("vllm", "0.11.0+cpu")),
        },
    ),
    Case(
        "a need that the image declares",
        plain(SKLEARN),
        {
            "gpu_need": "required",
            "labels": {"longshore.gpu": "required"},
            "packages": packages(("numpy", "2.3.1"), ("scikit-learn", "1.7.0")),
            "weights": [("app/model.joblib", "pickle", {})],
        },
        labels={"longshore.gpu": "required"},
    ),
    Case(
        "conda's packages, and those that it only keeps",
        plain(
            {
                **conda_package("pytorch", "2.5.1", "py3.12_cuda12.4_cudnn9.1.0_0"),
                **conda_package("cuda-cudart", "12.4.127", "0"),
                **package("old", "1.0", site="opt/conda/pkgs/old-1.0-0/lib/site-packages"),
            }
        ),
        {
            "gpu_need": "optional",
            "cuda_version": "12.4",
            "min_driver": 525,
            "packages": packages(
                ("pytorch", "2.5.1+py3.12_cuda12.4_cudnn9.1.0_0"), ("cuda-cudart", "12.4.127")
            ),
        },
        env=["CUDA_VERSION="],
    ),
    Case(
        "packages that uv linked from its cache, which a later layer deletes",
        lambda: [
            many_gzips(
                tar(
                    {
                        f"root/.cache/uv/archive-v0/x/{path.removeprefix(SITE)[1:]}": content
                        for path, content in XGBOOST_FILES.items()
                    },
                    hard_links={
                        path: f"root/.cache/uv/archive-v0/x/{path.removeprefix(SITE)[1:]}"
                        for path in XGBOOST_FILES
                    },
                )
            ),
            gzipped(tar({"root/.cache/.wh.uv": b""})),
        ],
        {
            "gpu_need": "optional",
            "sm_sass": {"xgboost": list(XGBOOST)},
            "sm_ptx": {"xgboost": ["120"]},
            "packages": packages(("xgboost", "3.2.0")),
        },
    ),
    Case(
        "packages where PYTHONPATH says, and others where nothing does",
        plain(
            {
                **package("a", "1", site="deps", owns=["a"]),
                **package("b", "2", site="elsewhere"),
                "deps/a/tests/data.pkl": b"\x80\x04 small, for its own tests",
                "app/model.pkl": b"\x80\x04",
            }
        ),
        {
            "gpu_need": "none",
            "packages": packages(("a", "1")),
            "weights": [("app/model.pkl", "pickle", {})],
        },
        env=["PYTHONPATH=/deps:/app"],
    ),
    Case(
        "weights of several formats, in zstd",
        lambda: [
            zstandard(
                tar(
                    {
                        "models/a.safetensors": LLAMA,
                        "models/b.gguf": gguf({"t": ("Q4_K", [256, 32]), "n": ("F32", [100])}),
                        "models/c.onnx": bytes(300),
                        "models/d.pt": b"PK\x03\x04" + bytes(100),
                        "models/README.md": b"words",
                    }
                ),
                each=1000,
            )
        ],
        {
            "gpu_need": "none",
            "weights": [
                ("models/a.safetensors", "safetensors", {"BF16": 64_000, "F32": 50}),
                ("models/b.gguf", "gguf", {"Q4_K": 8192, "F32": 100}),
                ("models/c.onnx", "onnx", {}),
                ("models/d.pt", "pytorch", {}),
            ],
        },
    ),
    Case(
        "weights as Hugging Face's cache keeps them",
        lambda: [
            gzipped(
                tar(
                    {f"hf/blobs/{'a' * 64}": LLAMA, f"hf/blobs/{'b' * 64}": bytes(9000)},
                    symlinks={
                        "hf/snapshots/1/model.safetensors": f"../../blobs/{'a' * 64}",
                        "hf/snapshots/1/pytorch_model.bin": f"../../blobs/{'b' * 64}",
                    },
                )
            )
        ],
        {
            "gpu_need": "none",
            "weights": [
                (f"hf/blobs/{'a' * 64}", "safetensors", {"BF16": 64_000, "F32": 50}),
                ("hf/snapshots/1/pytorch_model.bin", "pytorch", {}),
            ],
        },
    ),
    Case(
        "a language model with its sizes beside its weights, and others that are none",
        lambda: [
            gzipped(
                tar(
                    {
                        "model/model.safetensors": LLAMA,
                        "model/config.json": CONFIG,
                        "app/config.json": b'{"num_hidden_layers": 3, "port": 8080}',
                        "other/config.json": CONFIG,
                        f"hf/blobs/{'c' * 40}": CONFIG,
                        f"hf/blobs/{'b' * 64}": bytes(9000),
                    },
                    symlinks={
                        "hf/snapshots/1/config.json": f"../../blobs/{'c' * 40}",
                        "hf/snapshots/1/pytorch_model.bin": f"../../blobs/{'b' * 64}",
                    },
                )
            )
        ],
        {
            "gpu_need": "none",
            "weights": [
                ("hf/snapshots/1/pytorch_model.bin", "pytorch", {}),
                ("model/model.safetensors", "safetensors", {"BF16": 64_000, "F32": 50}),
            ],
            "model_config": [
                {"path": path, "layers": 32, "kv_heads": 8, "head_dim": 128, "dtype": "bfloat16"}
                for path in ("hf/snapshots/1/config.json", "model/config.json")
            ],
        },
    ),
    Case(
        "a language model with its sizes beside large files, in zstd:chunked",
        lambda: [
            chunked(
                {
                    "m/config.json": CONFIG,
                    "m/model.safetensors": LLAMA,
                    "aside.csv": bytes(range(256)) * 4000,
                }
            )
        ],
        {
            "gpu_need": "none",
            "weights": [("m/model.safetensors", "safetensors", {"BF16": 64_000, "F32": 50})],
            "model_config": [
                {
                    "path": "m/config.json",
                    "layers": 32,
                    "kv_heads": 8,
                    "head_dim": 128,
                    "dtype": "bfloat16",
                }
            ],
        },
    ),
    Case(
        "weights that no GPU could hold, in zstd:chunked",
        lambda: [enormous(200_000_000_000)],
        {
            "gpu_need": "none",
            "weights": [("m.safetensors", "safetensors", {"BF16": 200_000_000_000})],
        },
    ),
    Case(
        "onnxruntime-gpu beside large files, in zstd:chunked",
        lambda: [chunked({**ONNX_FILES, "data/large.csv": bytes(range(256)) * 4000})],
        {
            "gpu_need": "optional",
            "sm_sass": {"onnxruntime-gpu": list(ONNXRUNTIME)},
            "packages": packages(("onnxruntime-gpu", "1.31.1")),
        },
    ),
    Case(
        "an index with images for two platforms: the one for CPUs is meant",
        plain(torch("2.9.0", "+cpu")),
        {"gpu_need": "none", "variant": "v8", "packages": packages(("torch", "2.9.0+cpu"))},
        architecture="arm64",
        variant="v8",
        beside="linux/amd64/v3",
    ),
    Case(
        "threads and workers",
        plain({"app/serve.py": b"..."}),
        {"gpu_need": "none", "threads": {"OMP_NUM_THREADS": "2", "workers": 4}},
        env=["OMP_NUM_THREADS=2"],
        cmd=["sh", "-c", "exec gunicorn --workers=4 app:app"],
    ),
    Case(
        "the wheel of xgboost",
        lambda: [gzipped(tar(wheel("xgboost==3.2.0")))],
        {
            "gpu_need": "optional",
            "sm_sass": {"xgboost": list(XGBOOST)},
            "sm_ptx": {"xgboost": ["120"]},
            "packages": packages(("xgboost", "3.2.0")),
        },
        wheels=["xgboost==3.2.0"],
    ),
    Case(
        "the wheel of onnxruntime-gpu",
        lambda: [gzipped(tar(wheel("onnxruntime-gpu==1.31.1")))],
        {
            "gpu_need": "optional",
            "sm_sass": {"onnxruntime-gpu": list(ONNXRUNTIME)},
            "packages": packages(("onnxruntime-gpu", "1.31.1")),
        },
        wheels=["onnxruntime-gpu==1.31.1"],
    ),
    *(
        Case(
            f"the wheel of {requirement.partition('==')[0]}",
            partial(lambda named: [gzipped(tar(wheel(named)))], requirement),
            {
                "gpu_need": need,
                "packages": [tuple(requirement.split("=="))],
            },
            wheels=[requirement],
            only=["gpu_need", "packages"],
        )
        for requirement, need in WHEELS.items()
    ),
]
