"""Train an encoder without labels on the pre-training subjects of a fold."""

import json
import shutil
from pathlib import Path

from somnoflow.config.pretrain import PretrainSlice
from somnoflow.data.packed import PackedEpochs
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.fingerprint import fingerprint
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.pretraining import build_neuronet, fit
from somnoflow.training.resume import Resume, resume_key
from somnoflow.training.roles import read_roles, require_subjects


def pretrain(
    *,
    packed: Inputs,
    split: Input,
    encoder: Output,
    training: Output,
    resume: Path,
    tensorboard: Path,
    name: str,
    fold: int,
    gpus: int,
    threads: int,
    cfg: PretrainSlice,
) -> None:
    """Pre-train NeuroNet and keep the pass with the lowest loss on the validation subjects."""
    device = choose_device(gpus)
    prepare(device, threads=threads)
    for path in packed:
        found = json.loads(path.read_text(encoding="utf-8"))["sampling_rate"]
        if found != cfg.sampling_rate:
            raise ValueError(f"{path} is at {found} Hz, wanted {cfg.sampling_rate} Hz")
    roles = read_roles(split, fold=fold)
    train, val = (
        PackedEpochs(packed, channels=[cfg.channel], subjects=subjects)
        for subjects in (roles.pretrain, roles.val)
    )
    for epochs, subjects in ((train, roles.pretrain), (val, roles.val)):
        require_subjects(subjects, epochs.table["subject"].unique(), where="the packed shards")
    model = build_neuronet(cfg.recipe, sampling_rate=cfg.sampling_rate)
    about = {
        "kind": "neuronet",
        "preset": cfg.recipe.preset,
        "architecture": model.architecture,
        "channel": cfg.channel,
        "sampling_rate": cfg.sampling_rate,
    }
    key = resume_key(
        code=fingerprint("somnoflow.commands.pretrain"),
        settings=cfg.model_dump(mode="json"),
        inputs=[*packed, split],
        fold=fold,
    )
    kept = Resume(resume / "pretrain" / name / f"fold={fold}", key)
    if not kept.finished:
        best, rows = fit(
            model,
            train=train,
            val=val,
            cfg=cfg.recipe,
            about=about,
            folder=kept.folder,
            device=device,
        )
        kept.finish(best, rows)
    shutil.copyfile(kept.weights, encoder)
    shutil.copyfile(kept.training, training)


if __name__ == "__main__":
    command(pretrain)
