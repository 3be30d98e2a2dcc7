"""The settings of transformers' Trainer that a run's choices mean."""

import os
from pathlib import Path

import torch
import transformers
from transformers.integrations import integration_utils

from imbert.toml_tables import one_of
from imbert.training.run_config import RunConfig, TrainChoice
from imbert.training.trainer import CRITERION, Bar

SCHEDULES = {"constant": "constant_with_warmup"}  # transformers' names, where they are others


def trainer_arguments(run: RunConfig, folder: Path) -> transformers.TrainingArguments:
    """Trainer's settings of a run.

    Args:
        run: its choices.
        folder: of the training's states.

    Raises:
        ValueError: if a batch cannot be shared evenly, there is no GPU where one is asked for, or a
            regularizer or an order by length is asked for in several processes.
    """
    choice = run.train
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    # the wrapper of a shared model takes one forward pass a step
    if choice.regularizer is not None and processes > 1:
        raise ValueError(f"train.regularizer: expected one process, got {processes}")
    # processes take micro-batches in turns: one would have all the long ones
    if choice.sort_by_length and processes > 1:
        raise ValueError(f"train.sort_by_length: expected one process, got {processes}")
    on_cpu = _is_on_cpu(choice)
    when = "steps" if choice.save_steps else "epoch"
    steps = choice.save_steps or 500  # ignored where it is an epoch
    return transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=_examples_at_once(choice, processes),
        per_device_eval_batch_size=run.evaluate.batch_size,
        gradient_accumulation_steps=choice.gradient_accumulation,
        num_train_epochs=choice.epochs,
        learning_rate=choice.learning_rate,
        weight_decay=choice.weight_decay,
        warmup_steps=choice.warmup_fraction,
        lr_scheduler_type=SCHEDULES.get(choice.schedule, choice.schedule),
        max_grad_norm=choice.max_gradient_norm,
        optim="adamw_torch_fused",
        seed=choice.seed,
        data_seed=choice.seed,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and processes > 1 else None,
        bf16=choice.precision == "bfloat16",
        eval_strategy=when,
        save_strategy=when,
        logging_strategy=when,
        eval_steps=steps,
        save_steps=steps,
        logging_steps=steps,
        metric_for_best_model=CRITERION,
        greater_is_better=True,
        logging_nan_inf_filter=False,
        label_names=["labels"],
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
        disable_tqdm=True,
        report_to="none",
    )


def shown_by(choice: TrainChoice, folder: Path) -> list[transformers.TrainerCallback]:
    """What shows a run while it trains: the services that it reports to, and a bar.

    Args:
        choice: of the training.
        folder: of the run; TensorBoard's files stand there unless the choice says where.

    Raises:
        ValueError: if there is no such service, or its package is missing.
    """
    callbacks: list[transformers.TrainerCallback] = []
    # every process trains, one reports
    if int(os.environ.get("RANK", "0")) != 0:
        return callbacks
    for name in choice.report_to:
        one_of("train.report_to", name, tuple(integration_utils.INTEGRATION_TO_CALLBACK))
        if name not in integration_utils.get_available_reporting_integrations():
            raise ValueError(f"train.report_to: expected an installed package, got {name!r}")
        kind = integration_utils.INTEGRATION_TO_CALLBACK[name]
        if name == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter  # late: an extra

            callbacks.append(kind(SummaryWriter(folder / (choice.logging_dir or "tensorboard"))))
        else:
            callbacks.append(kind())
    return [*callbacks, Bar()] if choice.progress else callbacks


def _examples_at_once(choice: TrainChoice, processes: int) -> int:
    """The examples of one micro-batch of one process."""
    parts = choice.gradient_accumulation * processes
    # an uneven batch would weigh its examples differently
    if choice.batch_size % parts:
        raise ValueError(
            "train.batch_size must be a multiple of gradient_accumulation "
            f"× processes = {parts}, got {choice.batch_size}"
        )
    return choice.batch_size // parts


def _is_on_cpu(choice: TrainChoice) -> bool:
    has_gpu = torch.cuda.is_available()
    if choice.device == "cuda" and not has_gpu:
        raise ValueError("train.device: expected a machine with a GPU for 'cuda', got none")
    return choice.device == "cpu" or not has_gpu
