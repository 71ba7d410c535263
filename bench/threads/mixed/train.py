"""Train two models for the benchmark on threads: ``python train.py DIRECTORY``."""

import sys
import warnings
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

features, digits = load_digits(return_X_y=True)
warnings.filterwarnings("ignore", category=ConvergenceWarning)
# As wide as makes the library for matrices use threads; how well it has learned does not matter.
network = MLPClassifier((512, 512, 512, 512), max_iter=3, early_stopping=False, random_state=0)
trees = HistGradientBoostingClassifier(max_iter=30, random_state=0)
for name, model in {"network": network, "trees": trees}.items():
    joblib.dump(model.fit(features, digits), Path(sys.argv[1], f"{name}.joblib"))
