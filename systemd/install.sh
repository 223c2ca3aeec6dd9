#!/bin/sh
# Installs cowbook for the whole system, upgrades it, or removes it: `make install` and `make uninstall` say with what.
#
# PIP: the command that installs packages.  INTERPRETER: what is to run them.  PREFIX, DESTDIR: as everywhere.
set -eu
cd "$(dirname "$0")/.."

root=${DESTDIR:-}$PREFIX
library=$root/lib/cowbook
documents=$root/share/doc/cowbook
units=$root/lib/systemd/system
shells="$root/share/bash-completion/completions/cowbook $root/share/zsh/site-functions/_cowbook
$root/share/fish/vendor_completions.d/cowbook.fish $root/share/man/man1/cowbook.1"
files="$shells $root/bin/cowbook $units/cowbook@.service $units/cowbook.target
$root/lib/sysusers.d/cowbook.conf $root/lib/tmpfiles.d/cowbook.conf"

fill_in() { # SOURCE TARGET MODE
	mkdir -p "$(dirname "$2")"
	sed -e "s|@PREFIX@|$PREFIX|g" -e "s|@INTERPRETER@|$INTERPRETER|g" "$1" >"$2.new"
	chmod "$3" "$2.new"
	mv "$2.new" "$2"
}

check_interpreter() {
	case $INTERPRETER in
	/root/* | /home/*)
		echo "$INTERPRETER is in a home directory, which the service may not see: give another one of the same version," >&2
		echo "for example: make install INTERPRETER=/usr/bin/python3" >&2
		exit 1
		;;
	esac
	tag='import sys; print(sys.implementation.cache_tag)'
	theirs=$("$INTERPRETER" -c "$tag")
	if [ "$theirs" != "$CACHE_TAG" ]; then
		echo "$INTERPRETER is $theirs, and packages are made for $CACHE_TAG: begin with make clean, then make install PYTHON=$INTERPRETER" >&2
		exit 1
	fi
}

install() {
	check_interpreter
	umask 022
	# Beside the old one, and then in its place, so that nothing of an old release stays.
	rm -rf "$library.new" "$library.old"
	mkdir -p "$library.new"
	$PIP install --quiet --disable-pip-version-check --root-user-action=ignore --target "$library.new" .
	if [ -e "$library" ]; then mv "$library" "$library.old"; fi
	mv "$library.new" "$library"
	rm -rf "$library.old"
	fill_in systemd/launcher.in "$root/bin/cowbook" 755
	fill_in systemd/cowbook@.service "$units/cowbook@.service" 644
	fill_in systemd/cowbook.target "$units/cowbook.target" 644
	fill_in systemd/cowbook.sysusers.conf "$root/lib/sysusers.d/cowbook.conf" 644
	fill_in systemd/cowbook.tmpfiles.conf "$root/lib/tmpfiles.d/cowbook.conf" 644
	fill_in config/shell/cowbook.bash "$root/share/bash-completion/completions/cowbook" 644
	fill_in config/shell/_cowbook "$root/share/zsh/site-functions/_cowbook" 644
	fill_in config/shell/cowbook.fish "$root/share/fish/vendor_completions.d/cowbook.fish" 644
	fill_in config/shell/cowbook.1 "$root/share/man/man1/cowbook.1" 644
	rm -rf "$documents"
	mkdir -p "$documents"
	cp -R README.md CHANGELOG.md LICENSE docs config/* "$documents"
	echo "cowbook is installed below $root."
	if [ -z "${DESTDIR:-}" ] && [ -d /run/systemd/system ]; then
		echo "Now: systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload"
	fi
}

uninstall() {
	# shellcheck disable=SC2086 - it is a list
	rm -f $files
	rm -rf "$library" "$documents"
	echo "cowbook is removed. /etc/cowbook, /var/lib/cowbook and /var/cache/cowbook are yours: they stay, and so does the user cowbook."
}

"$1"
