"""
Classify, with probabilities and class weights
==============================================

Alpha chosen by log loss, how well probabilities are calibrated, what class weights do,
and scikit-learn's own displays, which take these estimators as they are.
"""

from matplotlib import pyplot
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_breast_cancer
from sklearn.inspection import DecisionBoundaryDisplay, PartialDependenceDisplay
from sklearn.metrics import log_loss, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexrelu import ConvexReLUClassifier, ConvexReLUClassifierCV

data = load_breast_cancer()  # 0 is malignant, 1 benign
X, X_test, y, y_test = train_test_split(
    data.data, data.target, test_size=0.5, stratify=data.target, random_state=0
)

# %%
# Half of the data to train on, half to test.

search = ConvexReLUClassifierCV(n_alphas=20, scoring="neg_log_loss", random_state=0)
model = make_pipeline(StandardScaler(), search).fit(X, y)
alpha = search.alpha_ / search.alpha_max_
benign = model.predict_proba(X_test)[:, 1]
constant = log_loss(y_test, [y.mean()] * len(y_test))
print(f"alpha/alpha_max {alpha:.4f}, {search.n_neurons_} neurons; held out:")
print(f"accuracy {model.score(X_test, y_test):.3f}, ", end="")
print(f"log loss {log_loss(y_test, benign):.3f} (of a constant {constant:.3f})")

# %%
# Are the probabilities what they say? In each fifth of the test rows, ordered by their
# probability, the share of benign ones should be near the mean probability.

print("probability of benign, mean of a fifth   benign in that fifth")
observed, predicted = calibration_curve(y_test, benign, n_bins=5, strategy="quantile")
for probability, share in zip(predicted, observed, strict=True):
    print(f"{probability:38.3f} {share:22.3f}")

# %%
# A malignant sample that is missed costs more than a false alarm: ``class_weight``.

print("class_weight   recall of malignant   of benign")
for weight in (None, "balanced", {0: 10.0, 1: 1.0}):
    net = ConvexReLUClassifier(alpha, class_weight=weight, random_state=0)
    weighted = make_pipeline(StandardScaler(), net).fit(X, y)
    malignant, others = recall_score(y_test, weighted.predict(X_test), average=None)
    print(f"{weight!s:<18} {malignant:15.3f} {others:11.3f}")

# %%
# A network on two features, benign in blue, and how the model on all thirty depends on
# each of these two.

names = list(data.feature_names)
shown = [names.index("worst radius"), names.index("worst texture")]
figure, axes = pyplot.subplots(1, 3, figsize=(13.0, 4.0), layout="constrained")
net = ConvexReLUClassifier(0.01, random_state=0)
small = make_pipeline(StandardScaler(), net).fit(X[:, shown], y)
DecisionBoundaryDisplay.from_estimator(
    small, X[:, shown], response_method="predict_proba", cmap="RdBu", ax=axes[0]
)
for label, color in enumerate(("darkred", "navy")):
    axes[0].scatter(*X[y == label][:, shown].T, s=8, color=color)
axes[0].set(xlabel=names[shown[0]], ylabel=names[shown[1]])
axes[0].set_title("Network on two features")
PartialDependenceDisplay.from_estimator(
    model, X, shown, feature_names=names, ax=axes[1:]
)
for ax in figure.axes[1:]:
    ax.set(title=f"Network on {X.shape[1]} features")
pyplot.show()
