"""Train a classifier of handwritten digits: ``python train.py DIRECTORY``.

A third of the samples is held out: ``held_out.json`` keeps it with the right answers and with what
the model itself answers, so that whoever serves the model can compare.
"""

import json
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

features, digits = load_digits(return_X_y=True)
to_learn, to_test, learned, tested = train_test_split(
    features, digits, test_size=1 / 3, random_state=0, stratify=digits
)
model = SVC(gamma=0.001).fit(to_learn, learned)
directory = Path(sys.argv[1])
joblib.dump(model, directory / "model.joblib")
held_out = {
    "features": to_test.tolist(),
    "digits": tested.tolist(),
    "predictions": model.predict(to_test).tolist(),
}
(directory / "held_out.json").write_text(json.dumps(held_out))
