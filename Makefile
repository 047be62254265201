# Two commands: make demo, make test. Both make .venv first, with exactly the pinned versions.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
RUN := . $(VENV)/bin/activate &&

.PHONY: demo test docs lint format generated clean help

help:
	@echo "make demo       run the whole workflow on simulated nights, print where the report is"
	@echo "make test       run all tests"
	@echo "make docs       build the documentation as a site, read from disk"
	@echo "make lint       formatters and checkers, as in CI"
	@echo "make format     let the formatters rewrite the code"
	@echo "make generated  write anew what is made from the configuration's definition and the pins"

$(INSTALLED): pyproject.toml envs/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c envs/constraints.txt -e ".[dev]"
	@touch $@

demo: $(INSTALLED)
	$(RUN) snakemake --cores all all
	@echo "The report: $(CURDIR)/results/report/index.html"

test: $(INSTALLED)
	$(RUN) pytest -n 2 --dist loadgroup

docs: $(INSTALLED)
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "The documentation: $(CURDIR)/site/index.html"

lint: $(INSTALLED)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) snakefmt --check Snakefile workflow/rules
	$(RUN) codespell
	$(RUN) snakemake --lint

format: $(INSTALLED)
	$(RUN) ruff check --fix .
	$(RUN) ruff format .
	$(RUN) snakefmt Snakefile workflow/rules

generated: $(INSTALLED)
	$(RUN) somnoflow config --document yaml > config.yaml.new && mv config.yaml.new config.yaml
	$(RUN) somnoflow config --document schema > config/schema.json
	$(RUN) somnoflow config --document markdown > docs/config.md
	$(RUN) python envs/pin.py
	$(RUN) python envs/licences.py

clean:
	rm -rf $(VENV) results .snakemake
