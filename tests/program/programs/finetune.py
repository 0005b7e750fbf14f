"""A Transformers Trainer on a tiny model made from its configuration. Nothing is downloaded."""

import argparse
import time
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--pause", type=float, default=0.0)
args = parser.parse_args()


class Pause(TrainerCallback):
    def on_step_end(self, _, state, *__, **___):
        time.sleep(args.pause)
        while (args.out / f"hold-{state.global_step}").exists():
            time.sleep(0.02)


set_seed(0)
tokens = torch.randint(0, 32, (128, 8), generator=torch.Generator().manual_seed(0))
data = [{"input_ids": row, "labels": row} for row in tokens]
model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=8, n_embd=8, n_layer=1, n_head=1))
settings = TrainingArguments(
    output_dir=str(args.out),
    max_steps=args.steps,
    per_device_train_batch_size=8,
    save_steps=10,
    save_total_limit=2,
    report_to="none",
    use_cpu=True,
    disable_tqdm=True,
)
trainer = Trainer(model=model, args=settings, train_dataset=data, callbacks=[Pause()])
newest = get_last_checkpoint(str(args.out)) if args.out.is_dir() else None
trainer.train(resume_from_checkpoint=newest)
torch.save(model.state_dict(), args.out / "end.pt")
