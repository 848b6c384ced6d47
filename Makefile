# The doors of the house. `make help` lists them.
GO    ?= go
TOOL  := $(GO) tool -modfile=tools.mod
FUZZ  ?= 30s
ARGS  ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Run a node on 127.0.0.1:7070 (ARGS="--policy FILE" for more)
	$(GO) run -pgo=off ./cmd/sluice serve $(ARGS)

.PHONY: demo
demo: ## Run a node, a gateway on 127.0.0.1:8080 and a small API, to try with curl
	$(GO) run -pgo=off ./cmd/sluice demo $(ARGS)

.PHONY: build
build: ## Build bin/sluice
	$(GO) build -trimpath -o bin/sluice ./cmd/sluice

.PHONY: test
test: ## Run all tests
	$(GO) test -pgo=off ./...

.PHONY: check
check: lint race stale test-bench test-python ## Lint, race detector, stale code, bench and the sample client: CI runs these too

.PHONY: lint
lint: ## Look for mistakes in code and protos
	$(TOOL) golangci-lint run ./...
	cd bench && $(GO) vet ./...
	$(TOOL) buf lint

# Package by package: clusters of the detector's slow nodes need the machine for themselves, or
# their nodes take each other for dead.
.PHONY: race
race: ## Run all tests under the race detector
	$(GO) test -race -pgo=off -p 1 ./...

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZ (30s) each
	@set -e; $(GO) list ./... | while read -r package; do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZ) $$package; \
		done; \
	done

SEEDS ?= 200000
FIRST ?= 1
.PHONY: sim
sim: ## Simulate SEEDS (200000) clusters in trouble, from seed FIRST (1) on
	$(GO) test -timeout 0 -run '^TestSeeds$$' ./cluster/sim -v -seeds $(SEEDS) -first $(FIRST)

.PHONY: chaos
chaos: ## Let nodes join, leave, die and sleep under load, and print what that cost (ARGS="-short" for a minute of it)
	cd bench && $(GO) run ./cmd/chaos $(ARGS)

.PHONY: rehearse
rehearse: ## Play a StatefulSet's life under load: upgrades, scaling, evictions, bad DNS (ARGS="-short" for a minute of it)
	cd bench && $(GO) run ./cmd/rehearse $(ARGS)

# A build with a profile takes a minute longer, so what is only tried or tested has none.
.PHONY: profile
profile: ## Record anew the profile that the compiler optimises by, cmd/sluice/default.pgo
	cd bench && rm -rf bin/profiles && mkdir -p bin/profiles && \
		$(GO) run ./cmd/bench -scenarios profile -profiles bin/profiles && \
		$(GO) tool pprof -proto -output=../cmd/sluice/default.pgo bin/profiles/*.cpu.prof

.PHONY: bench
bench: ## Measure the engine, a key's memory, and all scenarios beside an empty gRPC call
	$(GO) test -run '^$$' -bench . -cpu 1 ./limiter
	cd bench && $(GO) run ./cmd/memory
	cd bench && $(GO) run ./cmd/bench $(ARGS)

.PHONY: bench-peers
bench-peers: ## Measure beside Gubernator, envoyproxy/ratelimit and redis_rate, which it builds and installs itself
	command -v redis-server >/dev/null || { apt-get update -qq && apt-get install -y -qq redis-server; }
	cd bench/peers/gubernator && $(GO) build -o ../../bin/gubernator github.com/gubernator-io/gubernator/v2/cmd/gubernator
	cd bench/peers/ratelimit && $(GO) build -o ../../bin/ratelimit github.com/envoyproxy/ratelimit/src/service_cmd
	cd bench && $(GO) run ./cmd/bench $(ARGS)

.PHONY: bench-report
bench-report: ## Measure all that docs/performance.md tells of anew, into docs/bench (an hour; after make bench-peers)
	mkdir -p docs/bench
	{ set -x; $(GO) version; git describe --always; \
		$(GO) test -run '^$$' -bench 'Check|Recorded|Sliding|Apply' -benchtime 3000000x -cpu 1 -count 5 ./limiter && \
		$(GO) test -run '^$$' -bench . -count 5 ./server/metrics && \
		$(GO) test -run '^$$' -bench 'Copying' -count 5 ./cluster/peer; } > docs/bench/go.txt 2>&1
	{ git describe --always; echo '$(GO) run ./cmd/memory'; cd bench && $(GO) run ./cmd/memory; } > docs/bench/memory.txt
	cd bench && $(GO) run ./cmd/bench -only '^(unary|batches|client|keys)$$' -out ../docs/bench/one-node
	cd bench && $(GO) run ./cmd/bench -only '^(three-nodes|ring-aware|memory)$$' -out ../docs/bench/three-nodes
	cd bench && $(GO) run ./cmd/bench -only '^(open|denied|hot|leases)$$' -out ../docs/bench/cluster
	cd bench && $(GO) run ./cmd/bench -only '^join$$' -out ../docs/bench/join
	cd bench && $(GO) run ./cmd/capacity ../docs/bench/*/report.json > ../docs/bench/capacity.md

.PHONY: proto
proto: ## Generate the Go code of the protos
	$(TOOL) buf generate

.PHONY: stale
stale: proto manifests ## Fail if generated code, manifests or module files are not current
	$(GO) mod tidy -diff
	cd bench && $(GO) mod tidy -diff
	cd deploy/check && $(GO) mod tidy -diff
	@git diff --exit-code -- proto && test -z "$$(git ls-files --others --exclude-standard proto)" || \
		{ echo 'generated code is stale: run make proto and commit'; exit 1; }
	@git diff --exit-code -- deploy/manifests || \
		{ echo 'the manifests are not what the chart makes: run make manifests and commit'; exit 1; }

# The protos must stay compatible with what landed before: BASE is a commit of that.
BASE ?= HEAD^
.PHONY: breaking
breaking: ## Fail if the protos break those of the commit BASE (HEAD^)
	$(TOOL) buf breaking --against '.git#ref=$(BASE)'

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the binary uses
	$(TOOL) govulncheck ./...

.PHONY: test-bench
test-bench: ## Run the tests of the bench module
	cd bench && $(GO) test ./...

.PHONY: test-gateways
test-gateways: ## Run real gateways, which it installs, with the configurations of deploy/gateways
	for p in nginx caddy haproxy; do command -v $$p; done | wc -l | grep -qx 3 || { apt-get update -qq && RUNLEVEL=1 \
		apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends nginx-light caddy haproxy; }
	$(GO) test -pgo=off -count 1 -tags gateways ./deploy/gateways

# Chromium shows the page of a node; tmux, for the pictures, what a command writes to a terminal.
CHROMIUM = command -v chromium >/dev/null && command -v tmux >/dev/null || { apt-get update -qq && \
	apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends chromium tmux fonts-dejavu-core; }
.PHONY: test-browser
test-browser: ## Open the page of a node in Chromium, which it installs
	$(CHROMIUM)
	cd bench && $(GO) test -count 1 -tags browser ./browser

LOADED ?= 11m
.PHONY: captures
captures: ## Take the pictures of docs/captures anew, of three nodes that had LOADED (11m) of load
	$(CHROMIUM)
	cd bench && $(GO) test -count 1 -tags 'browser captures' -timeout 1h -run '^TestCaptures$$' ./browser -captures ../../docs/captures -for $(LOADED)

.PHONY: test-python
test-python: ## Run the contract's sample client (needs python3)
	$(GO) test -tags python -run Python ./limiter/contract

.PHONY: image-binary
image-binary: ## Build bin/image/sluice, the binary of deploy/image/Dockerfile, as that does
	GO=$(GO) deploy/image/build bin/image/sluice

# Each build starts from nothing, with the compiler's profile: minutes.
.PHONY: reproducible
reproducible: ## Build the image's binary of HEAD twice, apart from each other, and compare the bytes
	GO=$(GO) deploy/image/reproducible

# Helm is pinned in deploy/check, a module for checking only; kubectl-validate, which is of an older
# Kubernetes, in a file of its own there.
CHECK     := cd deploy/check &&
KUBE      := 1.30
HELM_ARGS := --kube-version $(KUBE) ../chart

# Who applies them has no Helm, which their labels must not name.
.PHONY: manifests
manifests: ## Render the chart's defaults to deploy/manifests, for kubectl
	@$(CHECK) $(GO) tool helm template sluice --namespace sluice $(HELM_ARGS) > ../manifests/sluice.yaml.new
	@cd deploy/manifests && { echo '# Made by make manifests from deploy/chart: change that.'; \
		sed -e '/helm.sh\/chart:/d' -e '/managed-by:/d' -e '/^# Source:/d' sluice.yaml.new; } > sluice.yaml && rm sluice.yaml.new

.PHONY: test-deploy
test-deploy: test-alerts ## Check chart, manifests, dashboard and alerts: Helm, Kubernetes' schemas and rules, promtool, real nodes
	@rm -rf bin/deploy && mkdir -p bin/deploy/all bin/deploy/builtin
	@set -e; cd deploy/check; for values in ../chart/ci/*-values.yaml; do \
		name=$$(basename $$values); echo "helm lint, helm template: $$name"; \
		$(GO) tool helm lint --strict --quiet $(HELM_ARGS) --values $$values; \
		$(GO) tool helm template sluice --namespace limits $(HELM_ARGS) --values $$values > ../../bin/deploy/all/$$name; \
		../chart/ci/builtin ../../bin/deploy/all/$$name > ../../bin/deploy/builtin/$$name; \
	done
	$(CHECK) $(GO) tool -modfile=validate.mod kubectl-validate --version $(KUBE) ../../bin/deploy/builtin ../manifests
	$(CHECK) $(GO) vet ./... && $(GO) test -count 1 ./...

.PHONY: test-alerts
test-alerts: ## Try alerts and dashboard with promtool, which it installs
	command -v promtool >/dev/null || { apt-get update -qq && RUNLEVEL=1 \
		apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends prometheus; }
	$(GO) test -pgo=off -count 1 -tags promtool ./deploy

.PHONY: alerts-healthy
alerts-healthy: ## Record anew what healthy nodes tell, which no alert may fire on (two minutes)
	$(GO) build -pgo=off -o bin/sluice ./cmd/sluice
	$(GO) run -pgo=off ./deploy/alerts bin/sluice > bin/healthy.yaml && mv bin/healthy.yaml deploy/alerts/testdata/healthy.yaml
