# Verify size and SHA-256 of the files of one shard.


rule check:
    input:
        shard_manifest=paths.raw_manifest,
    output:
        recordings=paths.checked,
        problems=paths.problems,
    log:
        paths.log("check", "dataset", "shard"),
    benchmark:
        paths.benchmark("check", "dataset", "shard")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 2
    resources:
        mem_mb=growing(500),
        runtime=growing(60),
    params:
        code=plan.code("check"),
        cfg=plan.cfg("check"),
        raw=plan.raw_changes,
        manifest=plan.manifest,
        state=paths.raw_state,
    shell:
        """
        python -m somnoflow.commands.check \
            --shard-manifest {input.shard_manifest:q} \
            --manifest {params.manifest:q} \
            --recordings {output.recordings:q} \
            --problems {output.problems:q} \
            --state {params.state:q} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
