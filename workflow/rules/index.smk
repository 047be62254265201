# Gather all shards into one cohort and its tables.


rule index:
    input:
        parts=plan.all_shards(paths.part_index),
        problems=plan.all_shards(paths.problems),
    output:
        index=paths.index,
        recordings=paths.recordings,
        rejected=paths.rejected,
        channels=paths.channels,
    log:
        paths.log("index"),
    benchmark:
        paths.benchmark("index")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        code=plan.code("index"),
        cfg=plan.cfg("index"),
    shell:
        """
        python -m somnoflow.commands.index \
            --parts {input.parts:q} \
            --problems {input.problems:q} \
            --index {output.index:q} \
            --recordings {output.recordings:q} \
            --rejected {output.rejected:q} \
            --channels {output.channels:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
