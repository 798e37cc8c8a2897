# Everything that people do here. `make` lists it.
CLUSTER := tests/cluster/cluster

.PHONY: help demo test test-full unit lint bench generate cluster cluster-down
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

demo: ## See it work: cluster, nginx, a LogSidecar, its log lines, and everything back as it was
	@tests/demo

test: ## Everything, from lints to the end-to-end suite on a real cluster
	@tests/all

test-full: ## The same with many more random cases
	@PROPTEST_CASES=20000 tests/all

unit: ## What needs no cluster
	cargo test --locked

lint: ## Formatting, clippy, documentation, licences and advisories
	@tests/lint

bench: ## How fast, how sparing, how small, on a control plane of its own (N="100 1000 10000" ROUNDS=3, about half an hour)
	@tests/bench/run

generate: ## Rewrite generated files: CRD, installation, golden files
	UPDATE=1 cargo test --locked --test it -- contract golden

cluster: ## A cluster with the controller of this checkout (KUBECONFIG + IMAGE, else kind, else the bare machine)
	@$(CLUSTER) up && echo && $(CLUSTER) env

cluster-down: ## Remove it
	@$(CLUSTER) down
