# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The messages of the set-up, and the progress of long steps.

say() {
	printf '%s\n' "$*"
}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# duration SECONDS
duration() {
	if [ "$1" -ge 60 ]; then
		printf '%dm%02ds' $(($1 / 60)) $(($1 % 60))
	else
		printf '%ds' "$1"
	fi
}

# The process groups of the command that is waited for, and of one that runs beside it.
running='' beside=''

interrupted() {
	local group
	trap '' INT TERM HUP
	for group in $running $beside; do
		kill -TERM -- "-$group" 2>/dev/null || :
	done
	printf '\ninterrupted: run the same command again to continue\n' >&2
	exit 130
}
trap interrupted INT TERM HUP

# A pattern for steps that take as long as 14 others, and their number, for the estimate.
slow_steps='' slow_expected=0

# with_progress LABEL LOG EXPECTED PATTERN DONE COMMAND...
#
# Runs COMMAND with its output in LOG, and prints the progress. Of EXPECTED steps, DONE were done
# before, and each line of LOG that matches PATTERN is one more. EXPECTED is 0 if it is not known.
# If COMMAND fails, the end of LOG is printed.
with_progress() {
	local label=$1 log=$2 expected=$3 pattern=$4 before=$5 began=$SECONDS status=0 every tick=0
	shift 5
	if [ -t 1 ]; then every=1; else every=20; fi

	: >"$log"
	# The command has its own process group, so that an interrupt stops all of it.
	set -m
	"$@" >"$log" 2>&1 </dev/null {cache_lock}>&- &
	running=$!
	set +m
	while kill -0 "$running" 2>/dev/null; do
		sleep 0.2
		tick=$((tick + 1))
		[ $((tick % (every * 5))) -eq 0 ] || continue
		if [ -t 1 ]; then printf '\r\033[K  '; else printf '  '; fi
		progress_line
		[ -t 1 ] || echo
	done
	wait "$running" || status=$?
	running=
	[ ! -t 1 ] || printf '\r\033[K'
	if [ "$status" -ne 0 ]; then
		tail -n 25 "$log" | sed 's/^/  | /' >&2
		printf 'error: %s failed (status %d); its output: %s\n' \
			"$label" "$status" "$log" >&2
		return "$status"
	fi
	say "  $label: done in $(duration $((SECONDS - began)))"
}

# Prints the progress of the command of with_progress, whose variables it reads.
progress_line() {
	local now slow=0 elapsed=$((SECONDS - began)) weighed left
	now=$(grep -cE -- "$pattern" "$log" || :)
	if [ "$expected" -eq 0 ]; then
		printf '%s: %d steps, %s' "$label" "$now" "$(duration "$elapsed")"
		return
	fi
	[ -z "$slow_steps" ] || slow=$(grep -cE -- "$slow_steps" "$log" || :)
	printf '%s: %d of %d, %s' "$label" $((before + now)) "$expected" "$(duration "$elapsed")"
	weighed=$((now + slow * 13))
	left=$((expected - before - now + (before < 100 ? slow_expected - slow : 0) * 13))
	[ "$weighed" -eq 0 ] || [ "$left" -le 0 ] || [ "$elapsed" -lt 3 ] ||
		printf ', about %s left' "$(duration $((elapsed * left / weighed)))"
}
