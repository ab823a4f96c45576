"""A study of seconds, for tests of its steps: its faces are drawn by the fixture `draw_faces`."""

from cure_core.training.arcface import Recipe
from cure_core.unlearning import CureConfig
from cure_study.data.faceset import FaceSet
from cure_study.experiments import study

SETTING = study.StudySetting(
    forget_people=3,
    split={"min_images": 6, "outsiders": 4, "heldout": 0.3},
    recipe=Recipe(epochs=1, batch_size=16),
    config=CureConfig(clusters=(2, 3), epochs=1, batch_size=(8, 8)),
    n_pairs=20,
)


def painted(draw_faces):
    images, identities = draw_faces(people=14, each=7)
    return FaceSet("painted", images, identities, "abc")
