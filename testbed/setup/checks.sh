# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# `make check`: first the checks that need no machine, then the runs in QEMU. $results collects the
# results of all checks.

# result ok|'not ok' NAME [SECONDS]: adds the result of one check, as a line of KTAP.
result() {
	printf '%s %s\n' "$1" "$2" >>"$results"
	say "$1 $2${3:+ ($(duration "$3"))}"
}

# check NAME COMMAND...: runs a check that passes if COMMAND succeeds.
check() {
	local name=$1 log=$cache/log/check-${1//[^A-Za-z-]/_}.log began=$SECONDS
	shift
	if in_background "$log" "$@"; then
		result ok "$name" $((SECONDS - began))
	else
		tail -n 40 "$log" | sed 's/^/  | /'
		result 'not ok' "$name" $((SECONDS - began))
	fi
}

# check_begin NAME COMMAND...: starts a check that runs beside others until check_end.
check_begin() {
	beside_name=$1 beside_log=$cache/log/check-${1//[^A-Za-z-]/_}.log beside_began=$SECONDS
	shift
	set -m
	"$@" >"$beside_log" 2>&1 </dev/null {cache_lock}>&- &
	beside=$!
	set +m
}

check_end() {
	local status=0
	wait "$beside" || status=$?
	beside=
	if [ "$status" -eq 0 ]; then
		result ok "$beside_name" $((SECONDS - beside_began))
	else
		tail -n 40 "$beside_log" | sed 's/^/  | /'
		result 'not ok' "$beside_name" $((SECONDS - beside_began))
	fi
}

# check_cargo_test NAME COMMAND...: runs cargo's tests, and adds a result for each.
check_cargo_test() {
	local name=$1 log=$cache/log/check-${1//[^A-Za-z-]/_}.log began=$SECONDS status=0 ran
	shift
	in_background "$log" "$@" || status=$?
	sed -nE \
		-e "s/^test (.*) \.\.\. ok\$/ok $name: \1/p" \
		-e "s/^test (.*) \.\.\. FAILED\$/not ok $name: \1/p" \
		-e "s/^test (.*) \.\.\. ignored.*/ok $name: \1 # SKIP ignored/p" \
		"$log" >"$log.ktap"
	cat "$log.ktap" >>"$results"
	ran=$(wc -l <"$log.ktap")
	if [ "$status" -eq 0 ] && [ "$ran" -eq 0 ]; then
		result 'not ok' "$name: no test ran"
		return
	fi
	if [ "$status" -eq 0 ]; then
		say "ok $name: $ran tests ($(duration $((SECONDS - began))))"
		return
	fi
	grep -vE '^test .* \.\.\. ok$|^ *(Compiling|Running|Doc-tests) ' "$log" |
		tail -n 60 | sed 's/^/  | /'
	# If the build fails or a program is killed, no test reports it.
	grep -q '^not ok' "$log.ktap" || result 'not ok' "$name: build and run"
	say "not ok $name: $(grep -c '^not ok' "$log.ktap" || :) of $ran tests"
}

# in_background LOG COMMAND...: runs a command so that an interrupt is handled at once.
in_background() {
	local log=$1 status=0
	shift
	set -m
	"$@" >"$log" 2>&1 </dev/null {cache_lock}>&- &
	running=$!
	set +m
	wait "$running" || status=$?
	running=
	return "$status"
}

checks_host() {
	local bare_metal=$top/testbed/hypervisor
	cd "$top"
	say "checks that need no machine:"
	if cargo fmt --version >/dev/null 2>&1; then
		check 'format: user space' cargo fmt --all --check
		check 'format: mini-ACRN' \
			cargo fmt --all --check --manifest-path "$bare_metal/Cargo.toml"
		check 'format: driver' make -C "$top" rustfmtcheck
	else
		result ok 'format # SKIP this cargo has no rustfmt'
	fi
	check 'style' python3 "$top/scripts/check-style"
	check 'uapi: the bindings are those of acrn.h' \
		env BINDGEN="$bindgen" "$top/uapi/regenerate.sh" --check
	mkdir -p "$driver_build-clippy"
	check 'lint: driver' driver_make "$driver_build-clippy" clippy
	check 'docs: driver' driver_make "$driver_build-clippy" rustdoc
	check 'mutants: all slips apply' mutants_apply
	if cargo clippy --version >/dev/null 2>&1; then
		check 'lint: user space' \
			cargo_host "$cargo_target" clippy --locked --workspace --all-targets \
			-- -D warnings
		check 'lint: mini-ACRN' \
			cargo_host "$cargo_target/hypervisor" clippy --locked --workspace \
			--manifest-path "$bare_metal/Cargo.toml" -- -D warnings
	else
		result ok 'lint # SKIP this cargo has no clippy'
	fi
	check_cargo_test 'user space' \
		cargo_host "$cargo_target" test --locked --workspace --no-fail-fast
	check_cargo_test 'mini-ACRN' \
		cargo_host "$cargo_target/hypervisor" test --locked --no-fail-fast --workspace \
		--exclude mini-acrn --manifest-path "$bare_metal/Cargo.toml"
}

# cargo_host TARGET_DIR ARGUMENT...: runs cargo for this machine.
cargo_host() {
	local target=$1
	shift
	CARGO_TARGET_DIR=$target CARGO_TERM_COLOR=never cargo "$@"
}

# A hung kernel would print warnings forever. After this many seconds it panics instead.
patience=90
hang_is_panic() {
	echo "rcupdate.rcu_cpu_stall_timeout=$patience sysctl.kernel.panic_on_rcu_stall=1" \
		"sysctl.kernel.hung_task_panic=1 sysctl.kernel.hung_task_timeout_secs=$patience"
}

# The driver's unit tests run when it is loaded. The kernel's own do not run: one of them
# warns on PREEMPT_RT.
unit_tests='kunit.enable=1 kunit.filter_glob=acrn_hsm_*'

# selftests JOB OPTION...: runs a job of the runner with SEED and TEST_SECONDS.
selftests() {
	runner "$1" --append "$(hang_is_panic) $unit_tests ${kernel_parameters:-}" \
		${SEED:+--seed "$SEED"} ${TEST_SECONDS:+--seconds "$TEST_SECONDS"} "${@:2}"
}

# Sets record: the options that name the record for the runner.
recorded() {
	record=(--record "$top/testbed/record" --differences "$top/Documentation/differences.csv"
		--kernel-release "$(cat "$kernel_build/include/config/kernel.release")")
}

# `make compare`: records what the drivers do, of the program that ONLY names or of all.
checks_compare() {
	recorded
	selftests compare "${record[@]}" ${ONLY:+--only "$ONLY"}
}

# `make check`: fails if any check fails. The last line has the totals.
#
# With ONLY=NAME it runs only that program of the selftests, on the driver that DRIVER names (rust
# or c).
checks() {
	local began=$SECONDS
	recorded
	if [ -n "${ONLY:-}" ]; then
		selftests check --driver "${DRIVER:-rust}" "${record[@]}" \
			--mistake "${mistakes[plain]}" --only "$ONLY"
		return
	fi
	results=$checkout_cache/results.ktap
	: >"$results"
	check_begin 'make run: Linux in a User VM, with a disk' demo
	checks_host
	check_end
	say "checks without the selftests: $(duration $((SECONDS - began)))"
	say "selftests on our driver, in two machines side by side:"
	selftests check "${record[@]}" --mistake "${mistakes[plain]}" --add-results "$results"
}

# The mistakes of acrn_mistake.ko that each kernel must report.
declare -A mistakes=(
	[plain]='warning'
	[debug]='warning use_after_free leak lock_order sleep'
	[rt]='warning lock_order sleep sleeping_lock'
)

# checks_variant debug|rt: `make check-debug`, `make check-rt`, of the program that ONLY names or of
# all.
checks_variant() {
	recorded
	# Reports of lockdep and KASAN are long.
	kernel_parameters=log_buf_len=4M
	# The allocator leaves stale pointers in its sheaves, which kmemleak takes for references.
	# It uses no sheaves if it checks its objects.
	[ "$1" != debug ] || kernel_parameters+=' slab_debug=F'
	patience=300
	: "${TEST_SECONDS:=40}"
	say "selftests on the ${DRIVER:-rust} driver, $1 kernel:"
	# shellcheck disable=SC2086
	selftests check --driver "${DRIVER:-rust}" "${record[@]}" --other-kernel \
		$(printf -- '--mistake %s ' ${mistakes[$1]}) --timeout 5400 --silence 600 \
		${ONLY:+--only "$ONLY"}
}
