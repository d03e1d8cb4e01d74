"""What a run is asked to do: one YAML file, checked by the models in `sections.py`."""

from understudy.recipe.clips import Augment, Data, Pseudo
from understudy.recipe.reading import dump_recipe, load_recipe, parse_recipe, recipe_names
from understudy.recipe.sections import Distill, Eval, Model, Recipe, Start, Teacher, Train
from understudy.recipe.values import Section

__all__ = [
    "Augment",
    "Data",
    "Distill",
    "Eval",
    "Model",
    "Pseudo",
    "Recipe",
    "Section",
    "Start",
    "Teacher",
    "Train",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_names",
]
