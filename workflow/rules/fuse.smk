# Train SynthSleepNet's fusion on the frozen encoders of its modalities.


rule fuse:
    input:
        encoders=plan.fused,
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
    output:
        encoder=paths.fused,
        training=paths.fusing,
    log:
        paths.log("fuse", "channel", "fold"),
    benchmark:
        paths.benchmark("fuse", "channel", "fold")
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
        code=plan.code("fuse"),
        cfg=plan.cfg("fuse"),
        resume=paths.resume,
        tensorboard=paths.tensorboard,
    shell:
        """
        python -m somnoflow.commands.fuse \
            --encoders {input.encoders:q} \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --encoder {output.encoder:q} \
            --training {output.training:q} \
            --resume {params.resume:q} \
            --tensorboard {params.tensorboard:q} \
            --name synthsleepnet/{wildcards.channel} \
            --fold {wildcards.fold} \
            --gpus {resources.gpu} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
