"""What the images of the corpus are made of: packages, CUDA's base, weights."""

from parts.image_cases import ONNXRUNTIME, XGBOOST
from parts.layers import SITE, elf, fat_binary, package, safetensors

NUMPY = package("numpy", "2.3.1", owns=["numpy"])
SKLEARN = {
    **NUMPY,
    **package("scikit-learn", "1.7.0", owns=["sklearn"]),
    f"{SITE}/numpy/_core/_multiarray.so": elf(),
    "usr/local/lib/python3.11/lib2to3/Grammar3.11.7.final.0.pickle": b"\x80\x05 Python's own",
    f"{SITE}/sklearn/tests/data/model.pkl": b"\x80\x04 small, for its own tests",
    "app/model.joblib": b"\x80\x04" + bytes(5000),
}
CUDA_BASE = {
    "usr/local/cuda-12.4/targets/x86_64-linux/lib/libcudart.so.12.4.127": elf(),
    "usr/local/cuda-12.4/targets/x86_64-linux/lib/libcublas.so.12.4.5.8": elf(
        fat_binary(["50", "90"], ["90"])
    ),
}
CUDA_ENV = ("CUDA_VERSION=12.4.1", "NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_REQUIRE_CUDA=cuda>=12.4")
XGBOOST_FILES = {
    **package("xgboost", "3.2.0", requires=["nvidia-nccl-cu12"], owns=["xgboost"]),
    f"{SITE}/xgboost/lib/libxgboost.so": elf(*[fat_binary(XGBOOST, ["120"])] * 3),
}
ONNX_FILES = {
    **package("onnxruntime-gpu", "1.31.1", owns=["onnxruntime"]),
    f"{SITE}/onnxruntime/capi/libonnxruntime_providers_cuda.so": elf(
        fat_binary(ONNXRUNTIME[:3]), fat_binary(ONNXRUNTIME[3:])
    ),
}
LLAMA = safetensors({"a": ("BF16", [1000, 64], 128_000), "b": ("F32", [50], 200)})

CONFIG = (
    b'{"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "num_attention_heads": 32, '
    b'"num_hidden_layers": 32, "num_key_value_heads": 8, "torch_dtype": "bfloat16"}'
)
