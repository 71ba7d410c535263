"""Train a classifier on the iris data set: ``python train.py DIRECTORY``."""

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

features, species = load_iris(return_X_y=True)
model = LogisticRegression(max_iter=1000).fit(features, species)
joblib.dump(model, Path(sys.argv[1], "model.joblib"))
