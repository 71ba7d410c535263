"""Serve the model that MODEL names: each POST predicts 64 digits, whatever its body says."""

import os

import joblib
from fastapi import FastAPI
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_info

app = FastAPI()
# From this image's own build, so that loading it is as safe as running this file.
model = joblib.load(f"/opt/model/{os.environ['MODEL']}.joblib")
rows = load_digits().data[:64]


@app.get("/health")
def health() -> str:
    """Answer once the model is loaded."""
    return "ready"


@app.post("/predict")
def predict() -> dict[str, list[int]]:
    """Return one class per row."""
    return {"predictions": [int(each) for each in model.predict(rows)]}


@app.get("/threads")
def threads() -> int:
    """Return the threads that the models' libraries start."""
    return max(int(each["num_threads"]) for each in threadpool_info())
