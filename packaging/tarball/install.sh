#!/bin/sh
# install.sh [--prefix DIRECTORY] [--destdir DIRECTORY] [--uninstall] [agent|emulator|selinux]...: install the
# programs of this tarball and what belongs to them, as "make install" does, by the
# same list. The prefix is /usr/local by default.
set -eu
PREFIX=/usr/local
while [ $# -gt 0 ]; do
	case $1 in
	--prefix | --destdir)
		[ $# -gt 1 ] || { echo "install.sh: $1 needs a directory" >&2; exit 2; }
		if [ "$1" = --prefix ]; then PREFIX=$2; else DESTDIR=$2; fi
		shift
		;;
	--prefix=*) PREFIX=${1#*=} ;;
	--destdir=*) DESTDIR=${1#*=} ;;
	--uninstall) UNINSTALL=1 ;;
	-*)
		echo "usage: install.sh [--prefix DIRECTORY] [--destdir DIRECTORY] [--uninstall] [agent|emulator|selinux]..." >&2
		exit 2
		;;
	*) break ;;
	esac
	shift
done
export PREFIX DESTDIR="${DESTDIR:-}" UNINSTALL="${UNINSTALL:-}"
exec "$(dirname "$0")/packaging/install" "$@"
