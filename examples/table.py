"""
A table with categories, gaps and far rows
==========================================

``make_table_pipeline`` prepares the columns of a pandas frame and puts a network on
top, its penalty chosen by cross-validation.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

from sklearn_convexrelu import make_table_pipeline

rng = np.random.default_rng(0)
n = 600
size, age = rng.lognormal(4.5, 0.4, n), rng.integers(0, 90, n).astype(float)
town, street = rng.choice(list("abcd"), n), rng.integers(0, 60, n)
level = rng.normal(0, 20, 60)  # what each street adds
price = size * (1 + (town == "a")) - 30 * (age > 40) + level[street]
price += rng.normal(0, 10, n)
size[rng.choice(n, 60, replace=False)] = np.nan
age[:3] = 9999.0  # typing errors
table = pd.DataFrame(
    {
        "size": size,
        "age": age,
        "town": town,
        "street": [f"street {k}" for k in street],
        "sold": pd.Timestamp("2020-01-01")
        + pd.to_timedelta(rng.integers(0, 999, n), "D"),
    }
)
X, X_test, y, y_test = train_test_split(table, price, random_state=0)

# %%
# The columns go in as they are. What they became:

model = make_table_pipeline("regressor")
model.set_params(model__n_alphas=15, model__cv=3, model__random_state=0)
model.fit(X, y)
names = model[:-1].get_feature_names_out()
print(f"{X.shape[1]} columns became {len(names)}:")
for kind in ("numbers", "words", "many_words", "gaps"):
    own = [name.split("__")[1] for name in names if name.startswith(f"{kind}__")]
    print(f"  {kind:<11}{', '.join(own[:5])}{' ...' if len(own) > 5 else ''}")

# %%
# Held out, beside boosted trees, which take categories and gaps as well:

kinds = {"town": "category", "street": "category"}
trees = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
days = (table["sold"] - pd.Timestamp("2020-01-01")).dt.days
plain = table.assign(sold=days).astype(kinds)
trees.fit(plain.loc[X.index], y)
print(f"network  R2 {model.score(X_test, y_test):.3f}")
print(f"boosting R2 {trees.score(plain.loc[X_test.index], y_test):.3f}")

# %%
# The columns that the network uses most:

importances = model[-1].feature_importances_
for k in np.argsort(-importances)[:6]:
    print(f"  {names[k]:<30}{importances[k]:.2f}")
