"""Every artefact's path, in one place; `{name}` are Snakemake's wildcards.

One stage is one folder below the results folder. `run.json` stands beside each artefact.
"""

_SHARD = "dataset={dataset}/shard={shard}"
_ENCODER = "{encoder}/{channel}"
_FOLD = "fold={fold}"
_LABELS = "task={task}/labels={labels}"
_HEAD = f"heads/{_ENCODER}/{{head}}/{_LABELS}/{_FOLD}"
_TUNED = f"heads/{_ENCODER}/{{tuning}}-{{head}}/{_LABELS}/{_FOLD}"
_METHOD = f"{_ENCODER}/{{method}}/{_LABELS}"
_FUSION = "synthsleepnet/{channel}"


class Paths:
    """Path patterns below a results folder."""

    def __init__(self, results: str) -> None:
        self.results = results.rstrip("/")
        self.raw_folder = self._at("raw/dataset={dataset}")
        self.raw_manifest = self._at(f"raw/{_SHARD}/manifest.tsv")
        self.raw_state = self._at(f"raw/{_SHARD}/state.json")
        self.checked = self._at(f"check/{_SHARD}/recordings.json")
        self.problems = self._at(f"check/{_SHARD}/problems.tsv")
        self.part = self._at(f"signals/{_SHARD}/part-0.parquet")
        self.part_index = self._at(f"signals/{_SHARD}/index.json")
        self.index = self._at("signals/index.json")
        self.recordings = self._at("signals/recordings.tsv")
        self.rejected = self._at("signals/rejected.tsv")
        self.channels = self._at("signals/channels.tsv")
        self.packed_signals = self._at(f"packed/{_SHARD}/signals.npy")
        self.packed_epochs = self._at(f"packed/{_SHARD}/epochs.parquet")
        self.packed_index = self._at(f"packed/{_SHARD}/index.json")
        self.split = self._at("split/split.json")
        self.labels = self._at(f"labels/{_LABELS}/{_FOLD}/labels.parquet")
        self.labels_counts = self._at(f"labels/{_LABELS}/{_FOLD}/counts.json")
        self.encoder = self._at(f"pretrain/{_ENCODER}/{_FOLD}/encoder.safetensors")
        self.pretraining = self._at(f"pretrain/{_ENCODER}/{_FOLD}/training.csv")
        self.embeddings = self._at(f"embeddings/{_ENCODER}/{_FOLD}/index.json")
        self.fused = self._at(f"pretrain/{_FUSION}/{_FOLD}/encoder.safetensors")
        self.fusing = self._at(f"pretrain/{_FUSION}/{_FOLD}/training.csv")
        self.projection = self._at(f"projection/{_ENCODER}/{_FOLD}/projection.parquet")
        self.ablated = self._at(f"ablation/{_FUSION}/{_FOLD}/counts.parquet")
        self.ablation = self._at(f"ablation/{_FUSION}/metrics.json")
        self.features = self._at(f"embeddings/features/{{table}}/{_FOLD}/index.json")
        self.head = self._at(f"{_HEAD}/head.safetensors")
        self.head_training = self._at(f"{_HEAD}/training.csv")
        self.tuned = self._at(f"{_TUNED}/model.safetensors")
        self.tuned_training = self._at(f"{_TUNED}/training.csv")
        self.trained = self._at(f"heads/{_METHOD}/{_FOLD}/model.safetensors")
        self.trained_training = self._at(f"heads/{_METHOD}/{_FOLD}/training.csv")
        self.yasa = self._at(f"yasa/{{channel}}/{_SHARD}/features.parquet")
        self.predictions = self._at(f"scores/{_METHOD}/{_FOLD}/predictions.parquet")
        self.metrics = self._at(f"metrics/{_METHOD}/metrics.json")
        self.metrics_recordings = self._at(f"metrics/{_METHOD}/recordings.tsv")
        self.explanation = self._at(f"explain/{_METHOD}/{_FOLD}/explanation.parquet")
        self.calibration = self._at(f"metrics/{_METHOD}/calibration.json")
        self.bundle = self._at(f"bundles/{_METHOD}/bundle.zip")
        self.comparison = self._at("comparison/comparison.csv")
        self.comparison_tex = self._at("comparison/comparison.tex")
        self.comparison_html = self._at("comparison/comparison.html")
        self.report = self._at("report/index.html")
        self.report_contents = self._at("report/contents.json")
        self.report_figures = self._at("report/figures")
        self.report_tables = self._at("report/tables")
        self.resume = self._at("resume")
        self.tensorboard = self._at("tensorboard")

    def log(self, stage: str, *wildcards: str) -> str:
        """Give the log file pattern of a stage."""
        return self._at("/".join(["logs", stage, *_named(wildcards)]) + ".log")

    def benchmark(self, stage: str, *wildcards: str) -> str:
        """Give the file pattern of a stage's time and memory as Snakemake measures them."""
        return self._at("/".join(["benchmarks", stage, *_named(wildcards)]) + ".tsv")

    def _at(self, path: str) -> str:
        return f"{self.results}/{path}"


def _named(wildcards: tuple[str, ...]) -> list[str]:
    return [f"{name}={{{name}}}" for name in wildcards] or ["all"]
