#!/bin/bash
# LibreOffice without a screen on the mount: it opens, edits and saves, with its lock files; what another machine saves in
# between is there when the document is opened again.
# usage: office.sh COFFER
. "$(dirname "$0")/applications.sh"
command -v soffice >/dev/null || skip "no LibreOffice"
/usr/bin/python3 -c 'import uno' 2>/dev/null || skip "no python3-uno"

start_office() {  # PIPE; in a group of its own, since what is started is a script
  setsid soffice --headless --norestore --nologo "-env:UserInstallation=file://$work/profile-$1" "--accept=pipe,name=$1;urp" \
    >"$work/office-$1.log" 2>&1 &
  started+=("-$!")
}
edit() { "$here/office_edit.py" "$@" || fail "LibreOffice: $*"; }
text_of() {  # DOCUMENT
  soffice --headless "-env:UserInstallation=file://$work/profile-text" --convert-to txt:Text --outdir "$work" "$1" \
    >/dev/null 2>&1 || fail "LibreOffice does not convert $1"
  cat "$work/$(basename "$1" .odt).txt"
}

pipe=coffer-$$
start_office "$pipe"
mkdir "$mnt/letters"
echo 'Dear Sir,' >"$work/letter.txt"
soffice --headless "-env:UserInstallation=file://$work/profile-text" --convert-to odt --outdir "$mnt/letters" \
  "$work/letter.txt" >"$work/convert.log" 2>&1 || fail "LibreOffice writes no document: $(cat "$work/convert.log")"
letter=$mnt/letters/letter.odt
for i in 1 2 3; do edit "$pipe" "$letter" " line $i;" "$mnt/letters/letter.pdf"; done

remount
text_of "$letter" | grep -q 'Dear Sir, line 1; line 2; line 3;' || fail "the text is: $(text_of "$letter")"
head -c 5 "$mnt/letters/letter.pdf" | grep -q '%PDF-' || fail "there is no PDF"

# Another machine edits it; here it is opened again, in the LibreOffice that had it before.
"$coffer" sync --quiet "$mnt"
mount_on "$store" "$work/there" --state-dir "$work/state2" --device-name there
"$coffer" sync --quiet "$work/there"
edit "$pipe" "$work/there/letters/letter.odt" " there;"
"$coffer" sync --quiet "$work/there"
"$coffer" unmount --quiet "$work/there"
"$coffer" sync --quiet "$mnt"
edit "$pipe" "$letter" " here again;"
text_of "$letter" | grep -q 'line 3; there; here again;' || fail "the text is: $(text_of "$letter")"
[ "$(ls -A "$mnt/letters" | sort | tr '\n' ' ')" = "letter.odt letter.pdf " ] || fail "there is: $(ls -A "$mnt/letters")"
same_elsewhere "LibreOffice"
"$coffer" unmount "$mnt"
