# Write the report as one HTML page.


rule report:
    input:
        recordings=paths.recordings,
        rejected=paths.rejected,
        channels=paths.channels,
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
        metrics=plan.whole_models(paths.metrics),
        calibrations=plan.whole_models(paths.calibration),
        predictions=plan.whole_models(paths.predictions),
        training=plan.all_encoders(paths.pretraining) + plan.trained(),
        curves=plan.subset_models(paths.metrics),
        counts=plan.subsets(paths.labels_counts),
        ablations=plan.ablations(),
        projections=plan.projections(),
        explanations=plan.explained(),
        comparison=paths.comparison,
    output:
        page=report(paths.report, caption="../report/page.rst", category="Report"),
        contents=paths.report_contents,
        # Written beside contents, which names what is in them; declared for snakemake --report.
        figures=report(
            directory(paths.report_figures),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="Figures",
        ),
        tables=report(
            directory(paths.report_tables),
            patterns=["{name}.csv"],
            caption="../report/table.rst",
            category="Tables",
        ),
    log:
        paths.log("report"),
    benchmark:
        paths.benchmark("report")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("report"),
        cfg=plan.cfg("report"),
    shell:
        """
        python -m somnoflow.commands.report \
            --recordings {input.recordings:q} \
            --rejected {input.rejected:q} \
            --channels {input.channels:q} \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --metrics {input.metrics:q} \
            --calibrations {input.calibrations:q} \
            --predictions {input.predictions:q} \
            --training {input.training:q} \
            --curves {input.curves:q} \
            --counts {input.counts:q} \
            --ablations {input.ablations:q} \
            --projections {input.projections:q} \
            --explanations {input.explanations:q} \
            --comparison {input.comparison:q} \
            --page {output.page:q} \
            --contents {output.contents:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
