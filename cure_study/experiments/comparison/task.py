"""The forget requests of one data set of the plan, and the models trained for them."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from torch import Tensor, nn

from cure_core import objectives
from cure_core.config import CureConfig
from cure_core.encoders.embedding import teacher_views
from cure_core.files import digest
from cure_core.training.arcface import Recipe
from cure_core.unlearning import unlearn
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.evaluation.protocol import Protocol, fewer_pairs, verification_only
from cure_study.evaluation.space import Space
from cure_study.experiments import study
from cure_study.experiments.attempts import attempt
from cure_study.experiments.comparison.methods import SECOND_ORACLE
from cure_study.experiments.comparison.plan import Plan, Settings, split_settings
from cure_study.experiments.typed_csv import Row

SECOND_ORACLE_SEED = 1000  # added to a request's seed


@dataclass(frozen=True, eq=False)
class Task:
    """One forget request on one teacher, with what all methods share.

    `space` holds the teacher's embeddings of the protocol's images, `views` those of the forget and
    the retain set, which `unlearn` would otherwise compute again for each method.
    """

    case: study.Case
    protocol: Protocol
    teacher: nn.Module
    space: Space
    views: tuple[Tensor, Tensor] | None


class Trainer:
    """Draws the requests of a data set and trains the models; `fast` compiles the encoders."""

    def __init__(self, plan: Plan, dataset: str, fast: bool = False) -> None:
        self.plan, self.dataset, self.fast = plan, dataset, fast
        self.part = plan.dataset_plan(dataset)
        self.source = plan.tuned_on(dataset)
        self.task = lru_cache(maxsize=4)(self._prepare)  # a trial and its finals

    @cached_property
    def faces(self) -> FaceSet:
        return manifests.load(self.source, **self.part.options)

    def setting(self, request: str) -> study.StudySetting:
        part = self.part
        return study.StudySetting(
            encoder=part.encoder,
            weights=part.weights,
            request=request,
            forget_people=part.forget_people,
            split=manifests.read(self.source).splits.model_dump() | part.split,
            recipe=Recipe(**part.teacher),
            config=CureConfig(compile=self.fast),
            n_pairs=part.n_pairs,
        )

    def _prepare(
        self, request: str, seed: int, n_pairs: int | None = None, attacked: bool = True
    ) -> Task:
        """Draw a request, train or load the teacher, embed what all methods need.

        `n_pairs` limits the pairs of either kind per set; None: as planned. Without `attacked` the
        protocol has verification only.
        """
        case = study.prepare(self.faces, self.setting(request), seed)
        teacher = study.train_teacher(case).encoder
        if self.fast:
            teacher.compile()
        protocol = fewer_pairs(case.protocol, n_pairs or self.part.n_pairs)
        if not attacked:
            protocol = verification_only(protocol)
        forget, retain = case.request.forget, case.request.retain
        views = teacher_views(teacher, forget), teacher_views(teacher, retain)
        return Task(case, protocol, teacher, Space(protocol, teacher), views)

    def student(self, task: Task, method: str, settings: Settings) -> tuple[nn.Module, Row]:
        """The student of a method, and the columns of `attempt` for its row."""
        changes, options = split_settings(self.plan.changed(method, settings))
        name, request = self.plan.objective(method), task.case.request
        if name in self.plan.references:
            people = task.case.faces.identities
            options["forget_labels"] = people[request.forget_index]
            options["retain_labels"] = people[request.retain_index]
        shared = {**self.part.unlearning, "epochs": self.part.epochs, "compile": self.fast}
        config = CureConfig(**{**shared, **changes, "seed": task.case.seed})
        student, columns = attempt(
            lambda: unlearn(
                task.teacher,
                request.forget,
                request.retain,
                config,
                objective=objectives.build(name, **options),
                views=task.views,
            )
        )
        if self.fast:
            student.compile()
        return student, columns

    def baseline(self, task: Task, name: str) -> tuple[Space, float]:
        """The embeddings of the teacher or of an oracle, and the seconds of its training."""
        if name == "teacher":
            return task.space, study.train_teacher(task.case).seconds
        seed = task.case.seed + (SECOND_ORACLE_SEED if name == SECOND_ORACLE else 0)
        trained = study.train_oracle(replace(task.case, seed=seed))
        if self.fast:
            trained.encoder.compile()
        return Space(task.protocol, trained.encoder), trained.seconds

    @cached_property
    def shared_inputs(self) -> tuple[object, ...]:
        """What every row of the data set depends on."""
        setting = self.setting(self.plan.requests[0]).result_fields()
        per_row = ("request", "method", "config")
        return self.faces.fingerprint, {k: v for k, v in setting.items() if k not in per_row}

    def digest(self, request: str, method: str, settings: Settings) -> str:
        """A digest of all that a method's row depends on, without code and weight files."""
        changed = self.plan.changed(method, settings)
        length = self.part.unlearning, self.part.epochs
        return digest(*self.shared_inputs, request, *length, changed)

    def baseline_digest(self, request: str) -> str:
        return digest(*self.shared_inputs, request)
