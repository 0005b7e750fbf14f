"""The one loop: clock, data order, cadence, logging, checkpoints, stopping. Tasks bring the networks and the losses."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor

from ganhpc.core.errors import UserError
from ganhpc.runs.experiment import Experiment
from ganhpc.runs.job_deadline import Watched
from ganhpc.runs.progress import Failed, NonFinite, Progress, Stopped, finite
from ganhpc.runs.run_folder import Run, State
from ganhpc.train.logging.run_logger import RunLogger
from ganhpc.train.logging.sample_images import SampleImages
from ganhpc.train.logging.tensorboard_snapshots import Snapshots
from ganhpc.train.loop import stages
from ganhpc.train.loop.epoch_line import epoch_line
from ganhpc.train.loop.speed_choice import Speed
from ganhpc.train.loop.step_work import StepWork, jumped, turned
from ganhpc.train.runtime import checkpoint, compiling, cuda_graph
from ganhpc.train.runtime import checkpoint_content as content
from ganhpc.train.runtime.cost_estimates import SAVE_SHARE, STOP_SECONDS, WAIT_SECONDS, CostEstimates, Costs
from ganhpc.train.runtime.distributed import Distributed
from ganhpc.train.runtime.long_phase import shown_while_long
from ganhpc.train.runtime.rng_state import random_state, restore_random_state
from ganhpc.train.runtime.stop_watch import Doing, Interrupted
from ganhpc.train.runtime.training_clock import Clock, TrainingPlan
from ganhpc.train.tasks.stage import within
from ganhpc.train.tasks.task import Task

_BLOCK_SECONDS = {"cpu": 0.2, "cuda": 1.0}
"""Seconds of steps between two looks at the clock and the stop file. A look makes a GPU's queue run empty."""

_LOG_EVERY = 50
"""Steps between two lines of training figures in metrics.jsonl."""


@dataclass(frozen=True)
class _Decision:
    """The next block of steps, as rank 0 decides it for all ranks."""

    steps: int = 0
    """Steps of the block; 0: the training is finished."""
    left: float = 0.0
    """Steps left in the plan."""
    schedule: float = 0.0
    """Place on the schedule, from 0 to 1."""
    stop: bool = False
    """True if to save and stop instead."""

    def of_main(self, process_group: Distributed) -> _Decision:
        """Rank 0's decision, on every rank; the others begin with an empty one, since a sum with zeros changes nothing."""
        steps, left, schedule, stop = process_group.agree([float(value) for value in astuple(self)])
        return _Decision(int(steps), left, schedule, bool(stop))


class Trainer:
    """Trains one run from wherever it stands until it is done, must stop, or fails."""

    def __init__(
        self,
        run: Run,
        experiment: Experiment,
        task: Task,
        clock: Clock,
        process_group: Distributed,
        *,
        restored: dict[str, Any] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """
        Args:
            run: the folder that is written.
            experiment: the definition.
            task: networks, losses and data.
            clock: the training clock, which runs already.
            process_group: this process and the others.
            restored: the content of the checkpoint that is gone on from; None for a new run.
            say: prints one line on rank 0.
        """
        self.run, self.experiment, self.task = run, experiment, task
        self.signature = run.recorded_signature()
        self.clock, self.process_group, self.say = clock, process_group, say
        self.plan = TrainingPlan(task.steps_per_epoch, experiment.budget.time, experiment.budget.epochs)
        self.progress = Progress(pass_step=0)
        self.estimates = CostEstimates()
        self.sums: dict[str, Tensor] = {}
        self.counted = 0
        self.rates: dict[str, float] = {}
        self._rates_before: dict[str, float] = {}
        self.saved_at = time.monotonic()
        self.saved_step = 0
        self.doing = Doing.STEPS
        self.bound = Watched(run.deadline_json)
        self.choices: dict[str, Any] = {}
        self.data_note = ""
        self.measure_seconds = 0.0
        """Of the samples and measures after the training clock has stopped."""
        self.speed: Speed | None = None
        if restored:
            self._restore(restored)
        self.metrics = RunLogger(run, self.progress if restored else None, active=process_group.is_main)
        self.sampler = SampleImages(run, task, self.metrics, clock, self.progress.step, active=process_group.is_main)
        self.snapshots = Snapshots(task, self.metrics, clock, active=process_group.is_main)
        if not restored:
            self.snapshots.begin()
        compile = compiling.wanted(experiment, process_group.device, task.compilable)
        task.wrap(
            lambda module: compiling.compiled(process_group.wrap(module)) if compile else process_group.wrap(module)
        )
        self.work = StepWork(process_group.world_size)
        self.begin_steps()
        self.progress.segments += 1

    def begin_steps(self) -> None:
        """Make the training steps of the task's present stage from now on."""
        step = cuda_graph.begin(self.experiment, self.task, self.process_group, self.clock)
        self.train_step = self.work.begin(step, None if step == self.task.train_step else self.task.train_step)

    # -- the loop -------------------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, Any]:
        """Train to the end of the plan. Returns the figures of the last evaluation.

        Raises Stopped where the run must go on later, NonFinite where a figure is no longer a number.
        """
        with self.metrics:
            while not self.progress.finished:
                self._next_stage_when_due()
                self._evaluate_when_due()
                self._draw_when_due()
                self._save_when_due()
                steps, left = self._decide()
                if steps:
                    self._block(steps, left)
                else:
                    self.progress.finished = True
            self._end_stages()
            needed = self.clock.used + self._costs().final
            stages.must_be_trained(self.progress, self.plan.time, needed, self._ends_with_the_job, self._save)
            return self._last_evaluation()

    def _draw_when_due(self) -> None:
        """Sample images and TensorBoard's distributions."""
        begun = self.clock.sync()
        self.sampler.take_when_due(self.progress.step)
        self.snapshots.take_when_due(self.progress.step)
        self.estimates.sampled(self.clock.sync() - begun)

    # -- stages ---------------------------------------------------------------------------------------------------------

    def _next_stage_when_due(self) -> None:
        """Go on to the next stage at the end of an epoch after the present one's share."""
        done, task = self.progress, self.task
        whole_epoch = done.step % task.steps_per_epoch == 0
        if whole_epoch and done.stage + 1 < len(task.stages) and done.schedule >= task.stages[done.stage].end - 1e-9:
            self._next_stage()

    def _end_stages(self) -> None:
        """The plan has ended: what is evaluated is the last stage, even where the time did not reach it."""
        while self.progress.stage + 1 < len(self.task.stages):
            self._next_stage()

    def _next_stage(self) -> None:
        done, task = self.progress, self.task
        if done.evaluated != done.step:
            self.evaluate_and_log()
        name = task.stages[done.stage].name
        done.earlier.append(
            {
                "name": name,
                "epochs": (done.step - done.stage_step) / task.steps_per_epoch,
                "seconds": done.step_seconds - done.stage_seconds,
                "figure": done.curve[-1].get(task.headline) if done.curve else None,
            }
        )
        done.stage += 1
        done.stage_step, done.stage_seconds, done.stage_schedule = done.step, done.step_seconds, done.schedule
        done.evaluated = -1
        task.begin_stage(done.stage)
        self.begin_steps()
        # Steps and evaluations of the new stage cost something else.
        self.estimates.forget()
        self.sums, self.counted = {}, 0
        self.say(f"{name} trained; now {task.stages[done.stage].name}")

    def _decide(self) -> tuple[int, float]:
        """(steps of the next block, steps left in the plan), the same on all ranks; (0, 0) to finish. Raises Stopped."""
        reason, mine = None, _Decision()
        if self.process_group.is_main:
            used = self.clock.sync()
            left = self._steps_left()
            reason = self._must_stop(_BLOCK_SECONDS[self.process_group.device.type] + self._costs().evaluation)
            if self.progress.first < 0:
                self.progress.first = used
            schedule = self.plan.by_time(
                self.progress.schedule, used, self.progress.first, self._costs(), self._last_job_left()
            )
            mine = _Decision(self._block_steps(left), left, schedule, reason is not None)
        decision = mine.of_main(self.process_group)
        self.progress.schedule = decision.schedule
        if decision.stop:
            self._save()
            raise Stopped(reason or "rank 0 stops")
        steps, left = decision.steps, decision.left
        if steps:
            self.progress.epochs_planned = (self.progress.step + left) / self.task.steps_per_epoch
        elif not self.progress.ended_by:
            whole = self.plan.epochs is not None and self.progress.step >= self.plan.epochs * self.task.steps_per_epoch
            self.progress.ended_by = "epochs" if whole else "time"
        return steps, left

    def _block_steps(self, left: float) -> int:
        """Steps to make before the next look at the clock: fewer towards the end, none past the end of the epoch."""
        if left < 1:
            return 0
        each = self.estimates.step.seconds
        wanted = _BLOCK_SECONDS[self.process_group.device.type] / each if each else 1
        to_epoch_end = self.task.steps_per_epoch - self.progress.step % self.task.steps_per_epoch
        to_samples = self.sampler.steps_until_due(self.progress.step)
        return max(1, int(min(wanted, to_epoch_end, to_samples, math.ceil(left / 2))))

    def _block(self, steps: int, left: float) -> None:
        begun = self.clock.sync()
        for _ in range(steps):
            self._step(left)
            left -= 1
        took = self.clock.sync() - begun
        self.estimates.stepped(took, steps)
        self.progress.step_seconds += took
        self._check_finite()
        if self.speed:
            self.speed.measure_again(left * (self.estimates.step.seconds or 0.0))
        self._write_progress()

    def _step(self, left: float) -> None:
        done = self.progress
        epoch, index = divmod(done.step, self.task.steps_per_epoch)
        self.clock.begin_step()
        along = self.plan.progress(done.step, done.schedule, math.inf)
        earlier, before = self._rates_before, self.rates
        self._rates_before = before
        self.rates = self.task.schedule(within(self.task.stages, done.stage, done.stage_schedule, along))
        with self.clock.phase("data"):
            batch = self.task.batch(epoch, index)
        figures = self.train_step(batch)
        for name, value in figures.items():
            self.sums[name] = self.sums[name] + value.detach() if name in self.sums else value.detach().clone()
        self.counted += 1
        done.schedule = self.plan.progress(done.step + 1, done.schedule, left)
        # Both ends of a jump, the top of a slope and the first step, so that they are drawn where they are.
        corner = jumped(before, self.rates) or turned(earlier, before, self.rates)
        if corner and done.step % _LOG_EVERY:
            self.metrics.line("train", done.step, {"epoch": done.step / self.task.steps_per_epoch, **before})
        done.step += 1
        if done.step % _LOG_EVERY == 0 or corner or done.step == 1:
            last = {name: float(value) for name, value in figures.items()}
            self.metrics.line("train", done.step, {"epoch": done.step / self.task.steps_per_epoch, **last} | self.rates)

    def _check_finite(self) -> None:
        self._refuse([name for name, value in self.sums.items() if not math.isfinite(float(value))])

    def _refuse(self, bad: list[str]) -> None:
        """Raise NonFinite on every rank where any has figures that are no numbers."""
        if self.process_group.agree([float(bool(bad))])[0]:
            raise NonFinite(
                f"the training became non-finite ({', '.join(bad) or 'on another rank'}) before step {self.progress.step}; {self._kept()}. "
                f"Type the command again with a lower --lr (it was {self.experiment.lr:g})."
            )

    def _kept(self) -> str:
        return f"the checkpoint of step {self.saved_step} is kept" if self.saved_step else "there is no checkpoint yet"

    # -- evaluation ---------------------------------------------------------------------------------------------------------

    def _evaluate_when_due(self) -> None:
        """Evaluate before the first epoch and after each."""
        step = self.progress.step
        if step % self.task.steps_per_epoch or self.progress.evaluated == step:
            return
        if self._main_decides(step > 0 and self._steps_left() < 1):
            return  # The last evaluation follows at once.
        self.evaluate_and_log()

    def evaluate_and_log(self) -> None:
        """Evaluate what is being trained, and say how it does."""
        self._log_evaluation(self._evaluate(final=False))

    def _evaluate(self, *, final: bool) -> dict[str, Any]:
        begun = self.clock.sync()
        self.doing = Doing.EVALUATION
        try:
            with self.clock.whole("evaluation"), shown_while_long("evaluation", self.say):
                self.process_group.share_buffers(self.task.modules.values())
                figures = self.task.evaluate(final=final)
        except Interrupted:
            # An evaluation changes nothing that is trained: it is made again when the run goes on.
            self._save()
            raise Stopped(self.run.stop_reason(self.bound.owner) or "asked to stop") from None
        finally:
            self.doing = Doing.STEPS
        if not final:
            self.estimates.evaluated(self.clock.sync() - begun)
        return figures

    def _log_evaluation(self, figures: dict[str, Any]) -> None:
        done = self.progress
        epoch = done.step / self.task.steps_per_epoch
        numbers = {key: value for key, value in figures.items() if isinstance(value, int | float)}
        self._refuse([name for name, value in numbers.items() if not math.isfinite(value)])
        means = {name: float(self.process_group.mean(value / self.counted)) for name, value in self.sums.items()}
        self.sums, self.counted = {}, 0
        if means:
            self.task.end_epoch(means)
        point: dict[str, Any] = {
            "epoch": round(epoch, 4),
            "seconds": round(self.clock.used, 3),
            **{f"train_{k}": v for k, v in means.items()},
        }
        point |= {**numbers, "images_per_second": self.images_per_second, **self.rates}
        point |= (work := self.work.of_the_pass(done) if means else {})
        point |= {"words": self.task.words(means) if means else "", "seconds_by_phase": self.clock.rounded_shares()}
        done.evaluated = done.step
        if done.curve and (done.curve[-1]["step"], done.curve[-1].get("stage", 0)) == (done.step, done.stage):
            done.curve.pop()  # Evaluated again after a stop: the newer figures say more.
        done.curve.append({"step": done.step, **({"stage": done.stage} if done.stage else {}), **point})
        self.metrics.line("epoch", done.step, point)
        self._write_progress(force=True)
        self.say(
            epoch_line(
                epoch if done.step else None,
                done.epochs_planned,
                None if self.plan.time is None else self.plan.time - self.clock.used,
                self.rates,
                self.task.words(means) if means else "",
                (self.task.headline, numbers.get(self.task.headline)),
                self.images_per_second,
                work,
            )
        )
        if self.task.failure:
            raise Failed(f"{self.task.failure}; {self._kept()}. Type the command again with other options.")

    def _last_evaluation(self) -> dict[str, Any]:
        costs = self._costs()
        reason = self._must_stop(costs.final) if self.process_group.is_main else None
        stop = self._main_decides(reason is not None)
        if self.saved_step != self.progress.step or stop:
            self._save()
        if stop:
            raise Stopped(reason or "rank 0 stops")
        figures = self._evaluate(final=True)
        self.clock.stop()
        self._log_evaluation(figures)
        begun = time.monotonic()
        self.sampler.take(self.progress.step)
        if self.process_group.is_main:
            # Ready a safe time before the end of the job, and before the ranks that wait give up.
            patience = math.inf if self.process_group.world_size == 1 else WAIT_SECONDS
            with shown_while_long("measures of the trained networks", self.say):
                figures |= self.task.measures(min(patience, self._job_left() - 2 * STOP_SECONDS))
            self.snapshots.end(self.progress.step, figures)
        self.measure_seconds = time.monotonic() - begun
        return figures

    # -- stopping, saving, telling ----------------------------------------------------------------------------------------------

    def _main_decides(self, answer: bool) -> bool:
        """Rank 0's `answer`, the same on all ranks."""
        return bool(self.process_group.agree([float(answer and self.process_group.is_main)])[0])

    def _must_stop(self, work: float) -> str | None:
        """The reason to save and stop rather than begin `work` seconds of work, or None. Only rank 0 asks."""
        if (asked := self.run.stop_reason(self.bound.owner)) is not None:
            return asked
        costs = self._costs()
        spare = work + 2 * costs.step + 2 * costs.save + STOP_SECONDS
        if not self._ends_with_the_job and self._job_left() < spare:
            return "out of time: the job ends"
        return None

    def _job_left(self) -> float:
        """Seconds until the end of this job (infinite where nobody said when that is)."""
        return self.bound.now().end - time.time()

    @property
    def _ends_with_the_job(self) -> bool:
        """True if this is the run's last job and time bounds it: the plan then ends inside the job, with a result."""
        return bool(self.bound.now().last and self.plan.time is not None and self.plan.epochs is None)

    def _steps_left(self) -> float:
        """Steps that the plan still has room for, on this rank's clock. Only rank 0's answer counts."""
        return self.plan.steps_left(self.progress.step, self.clock.used, self._costs(), self._last_job_left())

    def _last_job_left(self) -> float:
        """Seconds that the run's last job has for steps and the last evaluation; infinite where no job bounds the run."""
        if not self._ends_with_the_job:
            return math.inf
        return self._job_left() - STOP_SECONDS - 2 * self._costs().save

    def _costs(self) -> Costs:
        return self.estimates.costs(self.task.final_cost)

    def _save_when_due(self) -> None:
        """Save at the end of an epoch where that is cheap, and at least every `checkpoint_every` seconds."""
        since = time.monotonic() - self.saved_at
        at_end = self.progress.step % self.task.steps_per_epoch == 0 and since >= SAVE_SHARE * (
            self.estimates.save.seconds or 0.0
        )
        due = self.progress.step > self.saved_step and (at_end or since >= self.experiment.resources.checkpoint_every)
        if self._main_decides(due):
            self._save()

    def _save(self) -> None:
        before, self.doing = self.doing, Doing.SAVING
        begun = self.clock.sync()
        with self.clock.whole("checkpoint"):
            tree = self._tree()
            self.metrics.flush()
            if self.process_group.is_main:
                checkpoint.save(self.run.checkpoints, self.progress.step, tree)
            self.process_group.barrier()
        self.doing = before
        self.estimates.save.observe(self.clock.sync() - begun)
        self.saved_at, self.saved_step = time.monotonic(), self.progress.step

    def _write_progress(self, *, force: bool = False) -> None:
        self.metrics.status(State.RUNNING, every=0.0 if force else 1.0, **self.run_status())

    def run_status(self) -> dict[str, Any]:
        """Entries of status.json on the loop."""
        done = self.progress
        return {
            "step": done.step,
            "epoch": done.step / self.task.steps_per_epoch,
            "epochs_planned": done.epochs_planned,
            "seconds": self.clock.used,
            "budget_seconds": self.plan.time,
            "images_per_second": self.images_per_second,
            "rates": self.rates,
            "figures": {name: finite(float(value) / self.counted) for name, value in self.sums.items()},
            "headline": self.task.headline,
            "last": done.curve[-1] if done.curve else None,
        }

    @property
    def images_per_second(self) -> float:
        """Training images a second over all ranks in the present stage, evaluation and checkpoints left out."""
        done = self.progress
        seconds = done.step_seconds - done.stage_seconds
        return (done.step - done.stage_step) * self.task.batch_size / seconds if seconds else 0.0

    # -- the checkpoint's content -------------------------------------------------------------------------------------------------

    def _tree(self) -> dict[str, Any]:
        return {
            "progress": json.dumps(vars(self.progress)),
            "clock": self.clock.state(),
            "modules": {name: module.state_dict() for name, module in self.task.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.task.optimizers.items()},
            "task": self.task.state(),
            "sums": dict(self.sums),
            "counted": self.counted,
            "rates": dict(self.rates),
            "random": random_state(self.process_group),
            "torch": str(torch.__version__),
            "signature": self.signature,
        }

    def _restore(self, tree: dict[str, Any]) -> None:
        """Stand where the checkpoint `tree` was saved. Raises checkpoint.Unusable where it is not of this run's networks and loop."""
        try:
            self._take_back(tree)
        except (torch.cuda.OutOfMemoryError, MemoryError, OSError, UserError):
            raise
        except Exception as error:  # whatever torch and a task's own code say of contents that they were not made for
            raise checkpoint.Unusable(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error

    def _take_back(self, tree: dict[str, Any]) -> None:
        done = self.progress = Progress.from_json(tree["progress"])
        content.count(done.stage, "progress.stage", len(self.task.stages) - 1)
        self.task.begin_stage(done.stage)
        content.modules(tree["modules"], self.task.modules, "modules")
        for name, module in self.task.modules.items():
            module.load_state_dict(tree["modules"][name])
        for name, optimizer in self.task.optimizers.items():
            state = content.optimizer_state(tree["optimizers"][name], optimizer, f"optimizers.{name}")
            optimizer.load_state_dict(state)
        self.task.load_state(tree["task"])
        self.sums = content.scalars(tree["sums"], "sums")
        self.counted = content.count(tree["counted"], "counted")
        if self.sums and not self.counted:
            raise ValueError("sums of no steps")
        self.rates = content.rates(tree.get("rates", {}))  # checkpoints of older versions have none
        self.saved_step = done.step
        lost = self.run.status().get("seconds", 0.0) - tree["clock"]["used"]
        done.lost_seconds += max(0.0, lost)
        restore_random_state(tree["random"], self.process_group)
