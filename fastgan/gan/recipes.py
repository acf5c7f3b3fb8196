"""All recipes by name. Each is one value, in the file of its kind."""

from difflib import get_close_matches

from fastgan.errors import UsageError
from fastgan.gan.recipe import Recipe
from fastgan.gan.recipes_conv import CONVOLUTIONAL
from fastgan.gan.recipes_dense import DENSE

DEFAULT = "digits"


class Recipes(dict[str, Recipe]):
    """Recipes by name; UsageError with a suggestion for an unknown one."""

    def __missing__(self, name: str) -> Recipe:
        near = get_close_matches(str(name), self, 1)
        hint = f"did you mean {near[0]}?" if near else "`fastgan recipes` lists them"
        raise UsageError(f"got recipe {name!r}; {hint}")


RECIPES = Recipes((recipe.name, recipe) for recipe in (*DENSE, *CONVOLUTIONAL))
