"""Serve the iris classifier: POST rows of four centimetres, get the species' numbers."""

from typing import Annotated

import joblib
from fastapi import FastAPI
from pydantic import Field

app = FastAPI()
# From this image's own build, so that loading it is as safe as running this file.
model = joblib.load("/opt/model/model.joblib")
# Anything else is refused with 422, and says which row is wrong.
Row = Annotated[list[float], Field(min_length=4, max_length=4)]
Rows = Annotated[list[Row], Field(min_length=1)]


@app.get("/health")
def health() -> str:
    """Answer once the model is loaded."""
    return "ready"


@app.post("/predict")
def predict(rows: Rows) -> dict[str, list[int]]:
    """Return one class per row."""
    return {"predictions": [int(each) for each in model.predict(rows)]}
