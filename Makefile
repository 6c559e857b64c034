.PHONY: help cluster cluster-down

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

cluster: ## a real Kubernetes on this machine, in a network namespace of its own (lab/README.md)
	@lab/up

cluster-down: ## takes it down and leaves nothing behind
	@lab/down
