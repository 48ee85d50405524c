# The views, one line each: type checkers read this file, and so does __init__.py, which loads a name
# when it is first used.
from .block.view import BlockView as BlockView
from .compare.view import CompareView as CompareView
from .embeddings.view import EmbeddingView as EmbeddingView
from .explorer.view import Explorer as Explorer
from .heads.view import HeadView as HeadView
from .mix.view import MixView as MixView
from .pages.export import clean_notebook as clean_notebook
from .pages.export import notebook_to_html as notebook_to_html
from .patches.view import PatchView as PatchView
from .positions.view import PositionView as PositionView
from .residual.view import ResidualView as ResidualView
from .runs.training import TrainingView as TrainingView
from .runs.view import RunView as RunView
from .shared.base import View as View
from .spectrogram.view import SpectrogramView as SpectrogramView
from .why.view import WhyView as WhyView
