# Sourced by the tests that point applications at a mount: one volume in a directory, mounted on $mnt by `this machine`,
# and now and then seen from another one.
# shellcheck shell=bash
. "$(dirname "$0")/common.sh"
store=$work/store
mnt=$work/m

"$coffer" init "$store" --no-recovery-key
mount_on "$store" "$mnt"

# What $mnt shows, another machine shows as well once all is in the store; and check finds no fault in it.
same_elsewhere() {
  "$coffer" sync --quiet "$mnt"
  "$here/tree_digest.py" "$mnt" >"$work/here.digest"
  mount_on "$store" "$work/elsewhere" --state-dir "$work/state2" --device-name elsewhere
  "$coffer" sync --quiet "$work/elsewhere"
  "$here/tree_digest.py" "$work/elsewhere" >"$work/elsewhere.digest"
  diff "$work/here.digest" "$work/elsewhere.digest" >"$work/differs" ||
    fail "$1: another machine sees something else: $(head -n 20 "$work/differs")"
  "$coffer" unmount --quiet "$work/elsewhere"
  "$coffer" check "$store" | grep 'no fault' || fail "$1: check finds a fault"
}

# Nothing is left in the kernel: what is read next comes from the replica.
remount() {
  "$coffer" unmount --quiet "$mnt"
  mount_on "$store" "$mnt"
}
