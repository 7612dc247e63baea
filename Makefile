# make run    build everything and start it with a test channel playing
# make test   what CI runs: every check and every test
# make help   the rest

GO ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X github.com/weir-stream/weir/internal/app.version=$(VERSION)
RUNFLAGS ?= --test-channel

.PHONY: help run build web generate test check lint unit web-check generated tidy-check e2e conformance load bench fuzz clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

run: build ## build and start everything, with a test channel playing
	@exec bin/weir serve $(RUNFLAGS)

build: web bin/weir ## the program with its user interface, in bin/weir

.PHONY: bin/weir
bin/weir: setup-build
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/weir ./cmd/weir

.PHONY: setup-build setup-test setup-load
setup-build setup-test setup-load: setup-%:
	@tools/setup.sh $*

# The user interface is built anew only when a source is newer than the build.
WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)
web: web/dist/index.html ## the user interface, in web/dist
web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run --silent build
web/node_modules/.package-lock.json: web/package.json web/package-lock.json | setup-build
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

generate: tools/openapi/node_modules/.package-lock.json ## api/openapi.yaml from the Go code, and the TypeScript types from that
	$(GO) test ./internal/console/rest ./internal/console/feed -run UpToDate -update
	cd tools/openapi && npm run --silent generate

generated: tools/openapi/node_modules/.package-lock.json ## the TypeScript types are those of api/openapi.yaml
	@cd tools/openapi && npm run --silent print | diff -u ../../web/src/api/schema.ts - || { echo "web/src/api/schema.ts is out of date; run make generate" >&2; exit 1; }

tools/openapi/node_modules/.package-lock.json: tools/openapi/package-lock.json
	cd tools/openapi && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

test: setup-test check e2e conformance ## every check and every test

check: lint tidy-check generated web-check unit ## what must be green at every commit

lint: bin/golangci-lint ## linters and formatting
	bin/golangci-lint run ./...
bin/golangci-lint: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

tidy-check: ## go.mod and go.sum say what the code needs
	$(GO) mod tidy -diff

web-check: web ## types, linters and tests of the user interface
	cd web && npm run --silent check

unit: web ## Go tests with the race detector
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build ./...
	$(GO) test -race -timeout 15m $$($(GO) list ./... | grep -v /test/)
	$(GO) test ./cmcd/...   # memory and time have bounds, which the race detector would break
	$(GO) test -run 'MakesLittle|Idle|Ballast' ./internal/cdn/edge/... ./internal/app

e2e: setup-test build ## the built program with a real publisher, real players and a real browser
	$(GO) test -count=1 -v -timeout 25m ./test/e2e

conformance: setup-build build test/conformance/node_modules/.package-lock.json ## the edge against what HTTP says of caches
	$(GO) test -count=1 -v -timeout 15m ./test/conformance
test/conformance/node_modules/.package-lock.json: test/conformance/package-lock.json
	cd test/conformance && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

load: setup-load build ## measurements against named peers, for docs/performance.md
	$(GO) test -count=1 -v -timeout 100m -run . ./test/load -args -measure

bench: ## micro-benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./cmcd ./internal/...

fuzz: ## every fuzz target for 20 s
	@for package in $$($(GO) list ./cmcd ./internal/...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime 20s $$package || exit 1; \
		done; \
	done

clean: ## remove what was built
	rm -rf bin web/node_modules test/conformance/node_modules
	find web/dist -mindepth 1 -not -name README.md -delete
