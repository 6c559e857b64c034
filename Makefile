.PHONY: help cluster cluster-down crds manifests check-manifests demo test test-quick bench-wayback bench-idle

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

manifests: ## renders what is made from the chart: deploy/install.yaml and its kin
	@charts/render

check-manifests: ## says what of that is not as it should be, and tests what the chart renders
	@charts/render --check
	@tests/chart/run

demo: ## three releases on a real cluster, the last of which is taken back; CLUSTER=current: on yours
	@demo/run

test: ## everything set up, and every test
	@tests/run

test-quick: ## the tests that need no cluster
	@cargo test --workspace --lib --bins && cargo test --test model --test layout --test crds --test cli --test agent

bench-wayback: ## how fast traffic goes back, on the lab; writes target/proof/wayback.json
	@bench/run wayback

bench-idle: ## what one settled Release costs; writes target/proof/idle.json
	@bench/run idle
