# Everything a newcomer or CI runs. Build settings are not here but in Cargo.toml (profiles) and .cargo/config.toml
# (compiler), so that plain cargo commands build the same thing. CARGO_TARGET_DIR is honoured, as by cargo.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

# Where scripts/setup put what is not installed system-wide (the same rule as there).
LAB := $(or $(PLIMSOLL_LAB_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/plimsoll/lab)
export PATH := $(LAB)/bin:$(PATH)

# Always the whole workspace: cargo unites the features of all that it builds, so another selection would compile the
# AWS crates again.
CARGO_TEST := cargo test --workspace

ARGS ?=
N ?= 1000

.PHONY: help
help: ## Lists these targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: ## Installs what is missing (apt, pip); silent when all is there
	@scripts/setup

.PHONY: build
build: setup ## Builds the daemon and the lab
	cargo build --workspace

.PHONY: demo
demo: build ## Loses a region under load and promotes the standby; ARGS=--fast for the short one
	@target=$$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'); \
	exec "$$target/debug/demo" $(ARGS)

# One cargo command compiles everything, the plimsoll binary that the tests start included, before it runs the first test.
.PHONY: test
test: setup ## Runs all tests, then the checks of the alerts and of the systemd unit
	$(CARGO_TEST)
	@$(MAKE) alerts unit

# The cheap and most often broken check first.
.PHONY: lint
lint: setup ## Format, house rules, clippy with warnings as errors, alert rules, licences of the dependencies
	cargo fmt --all --check
	$(CARGO_TEST) --test tidy
	cargo clippy --workspace --all-targets -- -D warnings
	promtool check rules --lint-fatal dashboards/*.yml
	@$(MAKE) deny

.PHONY: alerts
alerts: setup ## Checks the Prometheus rules and proves that each alert fires, and when it does not
	promtool check rules --lint-fatal dashboards/*.yml
	promtool test rules dashboards/tests/*.yml

.PHONY: unit
unit: setup ## Verifies the systemd unit and its hardening score
	scripts/check-unit systemd/plimsoll.service

# Not the advisories: their database is fetched from GitHub, which is not within reach everywhere.
.PHONY: deny
deny: setup ## Checks licences, bans and sources of the dependencies
	cargo deny --log-level error check --hide-inclusion-graph bans licenses sources

.PHONY: bench
bench: setup ## Runs the benches; ARGS go to them
	cargo bench --workspace --profile dev --bench '*' -- $(ARGS)

# $(call tests,FILTER): fails when no test of that name exists, which cargo takes for a success.
tests = $(CARGO_TEST) --test it $(1) -- --list --format terse 2>/dev/null | grep -q ': test$$' || { echo "no test matches '$(1)'" >&2; exit 1; }

.PHONY: torture
torture: setup ## Kills and restarts the daemon under load and in seeds, N times (default 1000); SEED=n repeats a run
	@$(CARGO_TEST) --test it --no-run
	@$(call tests,torture::)
	@seed=$(or $(SEED),$$(date +%s)); echo "torture: make torture N=$(N) SEED=$$seed"; \
	PLIMSOLL_TORTURE_RESTARTS=$(N) PLIMSOLL_TORTURE_SEED=$$seed $(CARGO_TEST) --test it -- --nocapture torture:: ::kills::

.PHONY: scale
scale: setup ## Seeds a table of KEYS items (default 1000000) and prints time, memory and disk
	@$(CARGO_TEST) --test it --no-run
	@$(call tests,attack::scale::)
	PLIMSOLL_SCALE_KEYS=$(or $(KEYS),1000000) $(CARGO_TEST) --test it attack::scale:: -- --nocapture --test-threads 1

.PHONY: bless
bless: setup ## Rewrites the generated files (docs/METRICS.md, config/plimsoll.toml, goldens) from the code
	@$(CARGO_TEST) --test it --no-run
	@$(call tests,golden)
	PLIMSOLL_BLESS=1 $(CARGO_TEST) --test it golden

.PHONY: clean-lab
clean-lab: ## Removes what setup put into the lab folder (not the apt packages)
	rm -rf -- "$(LAB)/venv" "$(LAB)/bin" "$(LAB)/setup.log"
