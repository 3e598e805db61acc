# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the set-up says, and how it runs what takes long.

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

running=

interrupted() {
	trap '' INT TERM HUP
	[ -z "$running" ] || kill -TERM -- "-$running" 2>/dev/null || :
	printf '\ninterrupted: the same command goes on from here\n' >&2
	exit 130
}
trap interrupted INT TERM HUP

# with_progress LABEL LOG EXPECTED PATTERN DONE COMMAND...
#
# Runs COMMAND with its output in LOG and says how far it is: of EXPECTED steps,
# DONE were there before and every line of LOG that matches PATTERN is one more.
# EXPECTED 0: not known. If COMMAND fails, the end of LOG is shown.
with_progress() {
	local label=$1 log=$2 expected=$3 pattern=$4 before=$5 began=$SECONDS status=0 every line
	shift 5
	if [ -t 1 ]; then every=1; else every=20; fi

	: >"$log"
	# A process group of its own, so that an interrupt stops all of it.
	set -m
	"$@" >"$log" 2>&1 </dev/null {cache_lock}>&- &
	running=$!
	set +m
	local tick=0
	while kill -0 "$running" 2>/dev/null; do
		sleep 0.2
		tick=$((tick + 1))
		[ $((tick % (every * 5))) -eq 0 ] || continue
		line=$(progress_line "$label" "$expected" \
			"$(($(grep -cE -- "$pattern" "$log" || :) + before))" "$before" \
			$((SECONDS - began)))
		if [ -t 1 ]; then printf '\r\033[K  %s' "$line"; else say "  $line"; fi
	done
	wait "$running" || status=$?
	running=
	[ ! -t 1 ] || printf '\r\033[K'
	if [ "$status" -ne 0 ]; then
		tail -n 25 "$log" | sed 's/^/  | /' >&2
		printf 'error: %s failed (status %d); all it said: %s\n' "$label" "$status" "$log" >&2
		return "$status"
	fi
	say "  $label: done in $(duration $((SECONDS - began)))"
}

progress_line() {
	local label=$1 expected=$2 done=$3 before=$4 elapsed=$5 left=
	if [ "$expected" -eq 0 ]; then
		printf '%s: %d steps, %s' "$label" "$done" "$(duration "$elapsed")"
		return
	fi
	[ "$done" -le "$expected" ] || done=$expected
	if [ "$done" -gt "$before" ] && [ "$elapsed" -gt 2 ]; then
		left=", about $(duration $((elapsed * (expected - done) / (done - before)))) left"
	fi
	printf '%s: %d of %d, %s%s' "$label" "$done" "$expected" "$(duration "$elapsed")" "$left"
}
