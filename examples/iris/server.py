"""Serve the iris classifier: POST rows of four centimetres, get the species' numbers."""

import joblib
from fastapi import FastAPI

app = FastAPI()
# From this image's own build, so that loading it is as safe as running this file.
model = joblib.load("/opt/model/model.joblib")


@app.get("/health")
def health() -> str:
    """Answer once the model is loaded."""
    return "ready"


@app.post("/predict")
def predict(rows: list[list[float]]) -> dict[str, list[int]]:
    """Return one class per row."""
    return {"predictions": [int(each) for each in model.predict(rows)]}
