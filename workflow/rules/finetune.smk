# Train encoder and context module together on labelled signals: NeuroNet, or SynthSleepNet.


rule finetune:
    input:
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
        labels=paths.labels,
        encoder=plan.start,
    output:
        model=paths.tuned,
        training=paths.tuned_training,
    log:
        paths.log(
            "finetune",
            "encoder",
            "channel",
            "tuning",
            "head",
            "task",
            "labels",
            "fold",
        ),
    benchmark:
        paths.benchmark(
            "finetune",
            "encoder",
            "channel",
            "tuning",
            "head",
            "task",
            "labels",
            "fold",
        )
    wildcard_constraints:
        tuning=r"partial|full|scratch",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(2880),
        gpu=1,
    params:
        code=plan.code("finetune"),
        cfg=plan.cfg("finetune"),
        resume=paths.resume,
    shell:
        """
        python -m somnoflow.commands.finetune \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --labels {input.labels:q} \
            --encoder {input.encoder:q} \
            --model {output.model:q} \
            --training {output.training:q} \
            --resume {params.resume:q} \
            --name {wildcards.encoder}/{wildcards.channel}/{wildcards.tuning}-{wildcards.head}/task={wildcards.task}/labels={wildcards.labels} \
            --fold {wildcards.fold} \
            --gpus {resources.gpu} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """


rule finetune_fused:
    input:
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
        labels=paths.labels,
        encoder=paths.encoder,
    output:
        model=paths.tuned,
        training=paths.tuned_training,
    log:
        paths.log(
            "finetune_fused",
            "encoder",
            "channel",
            "tuning",
            "head",
            "task",
            "labels",
            "fold",
        ),
    benchmark:
        paths.benchmark(
            "finetune_fused",
            "encoder",
            "channel",
            "tuning",
            "head",
            "task",
            "labels",
            "fold",
        )
    wildcard_constraints:
        tuning="lora",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(1440),
        gpu=1,
    params:
        code=plan.code("finetune_fused"),
        cfg=plan.cfg("finetune_fused"),
        resume=paths.resume,
    shell:
        """
        python -m somnoflow.commands.finetune_fused \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --labels {input.labels:q} \
            --encoder {input.encoder:q} \
            --model {output.model:q} \
            --training {output.training:q} \
            --resume {params.resume:q} \
            --name {wildcards.encoder}/{wildcards.channel}/{wildcards.tuning}-{wildcards.head}/task={wildcards.task}/labels={wildcards.labels} \
            --fold {wildcards.fold} \
            --gpus {resources.gpu} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
