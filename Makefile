.PHONY: help cluster cluster-down crds

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

cluster: ## a real Kubernetes on this machine, in a network namespace of its own (lab/README.md)
	@lab/up

cluster-down: ## takes it down and leaves nothing behind
	@lab/down

crds: ## writes deploy/crds/ from the types
	@mkdir -p deploy/crds
	@cargo run --quiet --bin switchback -- crds | awk -v RS='---\n' 'NF { match($$0, /name: [a-z]+\.switchback/); \
		printf "%s", $$0 > ("deploy/crds/" substr($$0, RSTART + 6, RLENGTH - 17) ".yaml") }'
