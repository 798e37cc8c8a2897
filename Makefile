# Everything that people do here. `make` lists it.
CLUSTER := tests/cluster/cluster

.PHONY: help demo picture figures test test-full unit lint accounting cost generate generate-docs fuzz bench cluster cluster-down
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

demo: ## See it work: cluster, nginx, a LogSidecar, its log lines, and everything back as it was
	@tests/demo

test: ## Everything, from lints to the end-to-end suite on a real cluster (25 minutes on two cores, an hour from nothing)
	@tests/all

test-full: ## The same with many more random cases, and the controller killed at every request of everything
	@PROPTEST_CASES=20000 SEQUENCES=500 FULL=1 FUZZ_SECONDS=600 LIMIT_FACTOR=10 tests/all

unit: ## What needs no cluster
	cargo test --locked

lint: ## Formatting, clippy, documentation, licences and advisories
	@tests/lint

fuzz: ## Random input for the command line and the planner, half a minute each (tests/fuzz SECONDS for more)
	@tests/fuzz 30

accounting: ## What is lost and what arrives twice when things go wrong, as a table (a cluster must be up: make cluster)
	@eval "$$($(CLUSTER) env)" && ACCOUNTING=1 cargo test --locked --test e2e -- --test-threads=1 --nocapture every_line_is_accounted_for

cost: ## What a sidecar costs, idle and busy, as ratios to the least that would do (RATES="0 1000 10000", five minutes)
	@tests/cost/run

figures: ## Size of the image, time to start, and what the controller costs while nothing happens (six minutes)
	@tests/figures

bench: ## How fast, how sparing, how small, on a control plane of its own (N="100 1000 10000" ROUNDS=3, about half an hour)
	@tests/bench/run

generate: ## Rewrite generated files: CRD, installation, golden files
	UPDATE=1 cargo test --locked --test it -- contract golden pairs reference
	@if command -v helm > /dev/null; then UPDATE=1 cargo test --locked --test e2e helm_gives; \
	else echo "deploy/install.yaml is rendered by helm, which is not installed here"; fi

picture: ## Record the demo anew for the README: docs/demo.svg (a cluster should be up)
	@tests/picture

generate-docs: ## Rewrite docs/owners.md from what the suite of trust sees
	@UPDATE=1 tests/trust/run owners

cluster: ## A cluster with the controller of this checkout (KUBECONFIG + IMAGE, else kind, else the bare machine)
	@$(CLUSTER) up && echo && $(CLUSTER) env

cluster-down: ## Remove it
	@$(CLUSTER) down
