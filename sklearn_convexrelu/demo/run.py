"""The demo from arguments to picture."""

import sys

from sklearn.neural_network import MLPRegressor

from sklearn_convexrelu import ConvexReLURegressor
from sklearn_convexrelu.demo.arguments import make_parser
from sklearn_convexrelu.demo.cells import DataError
from sklearn_convexrelu.demo.classification import CLASSES, compare_classifiers
from sklearn_convexrelu.demo.comparison import SEARCH_TOL, evaluate
from sklearn_convexrelu.demo.picture import check_picture, draw_convergence
from sklearn_convexrelu.demo.report import explain_gap, format_comparison
from sklearn_convexrelu.demo.table import load_table

__all__ = ["main"]

# The same strengths for both: MLPRegressor's alpha is weight decay per batch, 200 rows
# as a rule, ours a fraction of alpha_max_, near 0.7 for standardised data.
CONVEX_ALPHAS = (0.1, 0.03, 0.01)
MLP_ALPHAS = (10.0, 3.0, 1.0)


def main(argv=None):
    """Run the demo.

    Parameters
    ----------
    argv : list of str, default=None
        Command-line arguments; those of the process when None.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        table = load_table(args.csv, args.target)
        check_picture(args.picture)
    except DataError as error:
        parser.error(str(error))
    print(table.summary)
    alphas = CONVEX_ALPHAS if args.alpha is None else (args.alpha,)
    regressor = ConvexReLURegressor(random_state=0)
    convex = evaluate(regressor, alphas, table, tol=SEARCH_TOL)
    regressor = MLPRegressor(max_iter=500, random_state=0)
    mlp = evaluate(regressor, MLP_ALPHAS, table)
    print("\n" + format_comparison(convex, mlp, table))
    print("\n" + explain_gap(convex.network))
    failure = None
    if args.picture is not None:
        try:
            print("\n" + draw_convergence(convex.network, args.picture))
        except DataError as error:  # the file came, or the space went, while training
            failure = f"no picture: {error}"
    if args.csv is None:
        for name, loader in CLASSES.items():
            print("\n" + compare_classifiers(name, *loader(return_X_y=True)))
    if failure is not None:
        sys.exit(failure)
