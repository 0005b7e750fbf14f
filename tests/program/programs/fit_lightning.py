"""A Lightning trainer, with the checkpoints of its own callback."""

import argparse
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--pause", type=float, default=0.0)
args = parser.parse_args()


class Regression(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch):
        inputs, targets = batch
        time.sleep(args.pause)
        while (args.out / f"hold-{self.global_step}").exists() and not self.trainer.received_sigterm:
            time.sleep(0.02)
        return torch.nn.functional.mse_loss(self.layer(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


lightning.seed_everything(0, verbose=False)
inputs = torch.randn(320, 8)
loader = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=32)
model = Regression()
callback = ModelCheckpoint(args.out, save_last=True, every_n_epochs=1)
trainer = lightning.Trainer(
    accelerator="cpu",
    devices=1,
    max_epochs=args.steps // 10,
    callbacks=[callback],
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
newest = args.out / "last.ckpt"
trainer.fit(model, loader, ckpt_path=str(newest) if newest.exists() else None)
if trainer.global_step >= args.steps:
    torch.save(model.state_dict(), args.out / "end.pt")
