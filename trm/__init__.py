"""Tiny Recursive Models: a network that recurses on its own answer, with a loss at every step.

    from trm import TRM, Config, get_preset, Trainer, open_run, evaluate, solve

Nothing heavy is imported until one of these names is used."""
__version__ = "0.2.0"

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import Config as Config, get_preset as get_preset
    from .engine.trainer import Trainer as Trainer
    from .network.weights import TRM as TRM
    from .answering import solve as solve
    from .runs import open_run as open_run
    from .thinking.scores import evaluate as evaluate

# classes that a config.json may name, and their modules: nothing else is ever imported for a file
networks = dict(TRM='trm.network.weights', SymbolTRM='trm.puzzles.symbols',
                UnitTRM='trm.puzzles.units', PrefixTRM='trm.puzzles.prefix',
                ToldTRM='trm.puzzles.told')

_places = dict(TRM='network.weights', Config='config', get_preset='config',
               Trainer='engine.trainer', open_run='runs', evaluate='thinking.scores',
               solve='answering')
__all__ = ['TRM', 'Config', 'get_preset', 'Trainer', 'open_run', 'evaluate', 'solve']


def __getattr__(name):
    if name not in _places: raise AttributeError(f"module 'trm' has no attribute {name!r}")
    return getattr(import_module(f'trm.{_places[name]}'), name)


def __dir__(): return sorted({*globals(), *_places})
