# Images of other people's programs, made without an engine: the S3 server, and PostgreSQL's programs on a Debian root.
# Sourced by lab/images. Kept in the cache outside the work tree: what goes in changes with this repository's scripts
# only, and the root takes a minute to make.
# shellcheck shell=bash

FOREIGN_IMAGES=(s3 postgres-tools-15)

is_foreign() { [[ " ${FOREIGN_IMAGES[*]} " == *" $1 "* ]]; }

# foreign_image IMAGE: makes it if need be and prints where its tar is. It is tagged "dev" in there, whatever it is called
# in a lab: a tag is no reason to make it again.
foreign_image() {
    local image=$1 tar
    mkdir -p "$LAB_CACHE/images"
    (
        # A command substitution, which is how this is called, would go on after an error.
        set -e
        exec {STDOUT}>&1 >&2
        # Two labs that start together make it once.
        exec {lock}>"$LAB_CACHE/images/$image.lock"
        flock "$lock"
        tar=$LAB_CACHE/images/$image-$(foreign_key "$image").tar
        [[ -f $tar ]] || case $image in
        s3) make_s3 "$tar" ;;
        postgres-tools-*) make_postgres_tools "$tar" "${image##*-}" ;;
        esac
        say "$tar" >&"$STDOUT"
    )
}

foreign_key() {
    local image=$1 hash
    hash=$({
        cat "$LAB_SOURCE/foreign-images.sh" "$LAB_SOURCE/image"
        case $image in
        s3) program_dir versitygw ;;
        postgres-tools-*) cat "$LAB_SOURCE/../images/postgres-tools/install" ;;
        esac
        uname -m
    } | sha256sum)
    say "${hash:0:16}"
}

make_s3() {
    local tar=$1 program
    program=$("$LAB_SOURCE/build" --print versitygw)/versitygw
    ! readelf --program-headers "$program" | grep -q INTERP || die "$program is not static"
    "$LAB_SOURCE/image" pack "$tar" --ref localhost/s3:dev --entrypoint /versitygw --user 65532:65532 \
        --file "$program:/versitygw"
}

make_postgres_tools() {
    local tar=$1 major=$2 root=$1.root log=$1.log begun=$SECONDS mirror
    need_root
    need_program debootstrap
    say "making image postgres-tools-$major, one to two minutes (log: $log)"
    # The mirror that this machine uses, if it is a Debian of that release; else debootstrap's own.
    # shellcheck disable=SC2016 # apt-get reads it
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -n 1) || true
    rm -rf "$root"
    mkdir -p "$root"
    {
        # What it mounts goes with its mount namespace, even when it is killed.
        unshare --mount debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} &&
            install -m 755 "$LAB_SOURCE/../images/postgres-tools/install" "$root/install" &&
            PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C chroot "$root" /install "$major"
    } >"$log" 2>&1 || {
        tail -n 15 "$log" | sed 's/^/    /' >&2
        die "image postgres-tools-$major failed; the whole log: $log"
    }
    # This machine's: a container gets its own.
    rm -rf "$root/install" "${root:?}"/dev/* "$root/etc/resolv.conf" "$root/etc/hostname"
    "$LAB_SOURCE/image" pack "$tar" --ref "localhost/postgres-tools-$major:dev" --root "$root" --user 65532:65532 \
        --env "PATH=/usr/lib/postgresql/$major/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    rm -rf "$root"
    say "made image postgres-tools-$major in $((SECONDS - begun)) s"
}
