# Train an encoder without labels, on one channel or on all channels of a modality.


rule pretrain:
    input:
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
    output:
        encoder=paths.encoder,
        training=paths.pretraining,
    log:
        paths.log("pretrain", "encoder", "channel", "fold"),
    benchmark:
        paths.benchmark("pretrain", "encoder", "channel", "fold")
    wildcard_constraints:
        encoder=r"neuronet(-[a-z0-9]+)?|unimodal",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(2880),
        # One process each; where there is none, as many as `processes`.
        gpu=1,
        processes=1,
        # Or torchrun: see "Several GPUs, several nodes" in docs/hpc.md.
        launch="python",
    params:
        code=plan.code("pretrain"),
        cfg=plan.cfg("pretrain"),
        resume=paths.resume,
        tensorboard=paths.tensorboard,
    shell:
        """
        {resources.launch} -m somnoflow.commands.pretrain \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --encoder {output.encoder:q} \
            --training {output.training:q} \
            --resume {params.resume:q} \
            --tensorboard {params.tensorboard:q} \
            --name {wildcards.encoder}/{wildcards.channel} \
            --fold {wildcards.fold} \
            --gpus {resources.gpu} \
            --processes {resources.processes} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
