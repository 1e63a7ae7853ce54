//! A tree survives: disk to tar by independent writers, tar to layer, layer to the same tar, layer to a new tar.
//! Runs as root: devices, owners and trusted attributes need it.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::support::*;
use ferry_archive::{Entry, Kind, Mtime, Source, Xattr};
use rustix::fs::FileType;

/// One of everything that the issue names.
fn make_tree(root: &Path) {
    let long = "d".repeat(120);
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join(&long).join(&long)).unwrap();
    fs::write(root.join(&long).join(&long).join("f".repeat(200)), "long").unwrap();
    symlink("x".repeat(300), root.join("long-link")).unwrap();
    fs::write(root.join("usr/bin/ping"), vec![7; 100_000]).unwrap();
    chmod(&root.join("usr/bin/ping"), 0o755);
    set_xattr(&root.join("usr/bin/ping"), "security.capability", CAPABILITY);
    set_xattr(&root.join("usr/bin/ping"), "user.empty", b"");
    set_xattr(&root.join("usr"), "user.bytes", b"a\0\n=b");
    set_xattr(&root.join("long-link"), "trusted.link", b"on a symlink");
    fs::write(root.join("usr/bin/sudo"), "set-id").unwrap();
    std::os::unix::fs::chown(root.join("usr/bin/sudo"), Some(1000), Some(70_000)).unwrap();
    chmod(&root.join("usr/bin/sudo"), 0o6711);
    fs::create_dir(root.join("tmp")).unwrap();
    chmod(&root.join("tmp"), 0o3777);
    std::os::unix::fs::chown(root.join("tmp"), Some(5), Some(3_000_000_000)).unwrap();
    fs::hard_link(root.join("usr/bin/ping"), root.join("a-ping")).unwrap();
    fs::hard_link(root.join("long-link"), root.join("link-to-link")).unwrap();
    symlink("/etc/../../passwd", root.join("absolute")).unwrap();
    mknod(&root.join("null"), FileType::CharacterDevice, 1, 3);
    mknod(&root.join("loop"), FileType::BlockDevice, 259, 70_000);
    mknod(&root.join("fifo"), FileType::Fifo, 0, 0);
    fs::write(root.join("żółć ☃ 🦀"), "unicode").unwrap();
    fs::write(root.join(name(b"latin1-\xe9\xff\x01 \n")), "bytes").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    for (file, seconds, nanos) in [
        ("empty", -86_400, 250_000_000),
        ("fifo", -1, 999_999_999),
        ("absolute", 7_000_000_000, 1),
        ("a-ping", 1_700_000_000, 123_456_789),
        ("usr/bin", 0, 0),
        ("tmp", 15_000_000_000, 0),
    ] {
        set_mtime(&root.join(file), seconds, nanos);
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file of 3 MiB that holds 3 × 4 KiB.
fn make_sparse(path: &Path) {
    let file = fs::File::create(path).unwrap();
    file.set_len(3 << 20).unwrap();
    for at in [0, 1 << 20, (2 << 20) + 4096] {
        file.write_all_at(&[b'#'; 4096], at).unwrap();
    }
    file.sync_all().unwrap();
}

#[track_caller]
fn same(one: &Path, other: &Path) {
    let (mut one, mut other) = (picture(one), picture(other));
    one.retain(|path, line| other.get(path) != Some(line) || other.remove(path).is_none());
    let shown = |lines: Vec<(Vec<u8>, String)>| {
        let shown = lines.into_iter().map(|(path, line)| (format!("{:?}", name(&path)), line));
        shown.collect::<Vec<_>>()
    };
    let (one, other) = (shown(one.into_iter().collect()), shown(other.into_iter().collect()));
    assert!(one.is_empty() && other.is_empty(), "only left: {one:#?}\nonly right: {other:#?}");
}

#[test]
fn a_tree_written_by_us_comes_back_whole() {
    let dir = Dir::new();
    make_tree(dir.path());
    let tar = pack(dir.path(), Source::Plain);
    let layer = unpack(&tar);
    // The root is in no layer that we write.
    set_mtime(dir.path(), 0, 0);
    set_mtime(&layer.diff(), 0, 0);
    chmod(&layer.diff(), 0o755);
    chmod(dir.path(), 0o755);
    same(dir.path(), &layer.diff());
    assert!(pack(&layer.diff(), Source::Plain) == tar, "a second writing differs");
}

#[test]
fn gnu_tar_reads_what_we_write() {
    let dir = Dir::new();
    make_tree(dir.path());
    let tar = pack(dir.path(), Source::Plain);
    let out = Dir::new();
    let args = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-"];
    run("tar", &args, out.path(), &tar);
    set_mtime(dir.path(), 0, 0);
    set_mtime(out.path(), 0, 0);
    same(dir.path(), out.path());
}

#[test]
fn gnu_tar_in_all_its_formats_is_read_whole() {
    let dir = Dir::new();
    make_tree(dir.path());
    // GNU tar stores no attributes of symlinks.
    rustix::fs::lremovexattr(dir.path().join("long-link"), "trusted.link").unwrap();
    let xattrs = ["--xattrs", "--xattrs-include=*", "--format=posix"];
    let tar = run("tar", &[&xattrs[..], &["-cf", "-", "."]].concat(), dir.path(), b"");
    let layer = unpack(&tar);
    same(dir.path(), &layer.diff());

    // The GNU format knows neither nanoseconds nor attributes.
    for path in ["usr", "usr/bin/ping"] {
        for xattr in xattrs_of(&dir.path().join(path)) {
            rustix::fs::lremovexattr(dir.path().join(path), xattr).unwrap();
        }
    }
    for path in picture(dir.path()).into_keys() {
        let path = dir.path().join(name(&path));
        set_mtime(&path, fs::symlink_metadata(&path).unwrap().mtime(), 0);
    }
    let tar = run("tar", &["--format=gnu", "-cf", "-", "."], dir.path(), b"");
    same(dir.path(), &unpack(&tar).diff());
}

fn xattrs_of(path: &Path) -> Vec<String> {
    xattrs(path).into_keys().collect()
}

#[test]
fn sparse_files_of_every_format_stay_sparse() {
    let dir = Dir::new();
    make_sparse(&dir.path().join("sparse"));
    // So many segments that an old GNU map needs several blocks.
    let many = fs::File::create(dir.path().join("many")).unwrap();
    for at in 0..100_u64 {
        many.write_all_at(b"segment", at * 65_536).unwrap();
    }
    many.set_len(7_000_000).unwrap();
    many.sync_all().unwrap();
    fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
    for format in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let args = [format, &["-S", "-cf", "-", "sparse", "many", "hole"]].concat();
        let tar = run("tar", &args, dir.path(), b"");
        assert!(tar.len() < 2 << 20, "{format:?}: not a sparse archive");
        let layer = unpack(&tar);
        for file in ["sparse", "many"] {
            let (from, to) = (dir.path().join(file), layer.diff().join(file));
            assert!(fs::read(from).unwrap() == fs::read(&to).unwrap(), "{format:?} {file}");
            let blocks = fs::metadata(&to).unwrap().blocks();
            assert!(blocks * 512 < 1 << 20, "{format:?} {file}: {blocks} blocks");
        }
        let hole = fs::metadata(layer.diff().join("hole")).unwrap();
        assert_eq!((hole.len(), hole.blocks() * 512 < 65_536), (1 << 30, true), "{format:?}");
    }
}

#[test]
fn a_sparse_file_is_written_as_a_plain_one() {
    let dir = Dir::new();
    make_sparse(&dir.path().join("sparse"));
    let layer = unpack(&pack(dir.path(), Source::Plain));
    assert!(fs::read(layer.diff().join("sparse")).unwrap().len() == 3 << 20);
}

#[test]
fn python_tarfile_in_all_its_formats_is_read_whole() {
    let dir = Dir::new();
    make_tree(dir.path());
    for xattr in ["usr", "usr/bin/ping", "long-link"].map(|path| dir.path().join(path)) {
        for key in xattrs_of(&xattr) {
            rustix::fs::lremovexattr(&xattr, key).unwrap();
        }
    }
    // tarfile knows no hard links to symlinks.
    fs::remove_file(dir.path().join("link-to-link")).unwrap();
    // tarfile's times are floats.
    for path in picture(dir.path()).into_keys() {
        let path = dir.path().join(name(&path));
        set_mtime(&path, fs::symlink_metadata(&path).unwrap().mtime(), 500_000_000);
    }
    let script = "import sys, tarfile\n\
        tar = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=int(sys.argv[1]))\n\
        tar.add('.')\n\
        tar.close()";
    // 2 is PAX.
    let tar = run("python3", &["-c", script, "2"], dir.path(), b"");
    same(dir.path(), &unpack(&tar).diff());
    for path in picture(dir.path()).into_keys() {
        let path = dir.path().join(name(&path));
        set_mtime(&path, fs::symlink_metadata(&path).unwrap().mtime(), 0);
    }
    // 1 is GNU.
    let tar = run("python3", &["-c", script, "1"], dir.path(), b"");
    same(dir.path(), &unpack(&tar).diff());
}

#[test]
fn python_tarfile_reads_what_we_write() {
    let dir = Dir::new();
    make_tree(dir.path());
    let tar = pack(dir.path(), Source::Plain);
    let script = "import sys, tarfile\n\
        for m in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'): print(repr(m.name), m.size, oct(m.mode), m.uid, m.gid)";
    let listing = run("python3", &["-c", script], dir.path(), &tar);
    let listing = String::from_utf8(listing).unwrap();
    assert_eq!(listing.lines().count(), picture(dir.path()).len() - 1, "{listing}");
    assert!(listing.contains("'tmp' 0 0o3777 5 3000000000"), "{listing}");
    assert!(listing.contains("żółć ☃ 🦀"), "{listing}");
}

#[test]
fn whiteouts_and_opaque_directories_go_both_ways() {
    let upper = Dir::new();
    fs::create_dir_all(upper.path().join("etc/opaque")).unwrap();
    fs::write(upper.path().join("etc/opaque/new"), "new").unwrap();
    set_xattr(&upper.path().join("etc/opaque"), "trusted.overlay.opaque", b"y");
    set_xattr(&upper.path().join("etc"), "trusted.overlay.origin", b"not ours");
    set_xattr(&upper.path().join("etc"), "trusted.other", b"kept");
    mknod(&upper.path().join("etc/gone"), FileType::CharacterDevice, 0, 0);
    let tar = pack(upper.path(), Source::Upper);
    let listing = run("tar", &["-tf", "-"], upper.path(), &tar);
    let want = "etc/\netc/.wh.gone\netc/opaque/\netc/opaque/.wh..wh..opq\netc/opaque/new\n";
    assert_eq!(String::from_utf8(listing).unwrap(), want);
    let layer = unpack(&tar);
    let gone = fs::symlink_metadata(layer.diff().join("etc/gone")).unwrap();
    assert_eq!((gone.rdev(), gone.mode() & 0o170_000), (0, 0o020_000));
    let opaque = xattrs(&layer.diff().join("etc/opaque"));
    assert_eq!(
        opaque.into_iter().collect::<Vec<_>>(),
        [("trusted.overlay.opaque".into(), b"y".to_vec())]
    );
    let etc = xattrs(&layer.diff().join("etc"));
    assert_eq!(etc.into_iter().collect::<Vec<_>>(), [("trusted.other".into(), b"kept".to_vec())]);
    assert!(pack(&layer.diff(), Source::Upper) == tar, "a second writing differs");
}

#[test]
fn an_upper_directory_that_borrows_from_below_is_refused() {
    let upper = Dir::new();
    fs::create_dir(upper.path().join("moved")).unwrap();
    set_xattr(&upper.path().join("moved"), "trusted.overlay.redirect", b"/elsewhere");
    let mut tar = ferry_archive::TarWriter::new(Vec::new());
    let root = fs::File::open(upper.path()).unwrap();
    let error = ferry_archive::write_tree(
        std::os::fd::AsFd::as_fd(&root),
        &ferry_archive::TreeOptions::layer(Source::Upper),
        &mut tar,
    );
    assert!(error.unwrap_err().to_string().contains("redirect_dir"));
}

#[test]
fn compressed_streams_are_told_apart() {
    let dir = Dir::new();
    fs::write(dir.path().join("file"), vec![b'x'; 2_000_000]).unwrap();
    let tar = pack(dir.path(), Source::Plain);
    let (one, two) = tar.split_at(1_000_000);
    let gzip = |part: &[u8]| run("gzip", &["-c"], dir.path(), part);
    let zstd = |part: &[u8]| zstd::encode_all(part, 3).unwrap();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip", &zstd(&tar)].concat();
    let frames = [zstd(one), zstd(two)].concat();
    let xz = |part: &[u8]| run("xz", &["-c"], dir.path(), part);
    let bzip2 = |part: &[u8]| run("bzip2", &["-c"], dir.path(), part);
    let streams = [
        gzip(&tar),
        [gzip(one), gzip(two)].concat(),
        zstd(&tar),
        frames,
        skippable,
        xz(&tar),
        [xz(one), xz(two)].concat(),
        bzip2(&tar),
        [bzip2(one), bzip2(two)].concat(),
    ];
    for (number, stream) in streams.iter().enumerate() {
        let layer = try_unpack(&stream[..]).unwrap();
        assert_eq!(layer.applied.diff_id, ferry_oci::Digest::sha256_of(&tar), "{number}");
        assert!(layer.tar().unwrap() == tar, "{number}");
        let cut = refused(&stream[..stream.len() - 5]);
        assert!(cut.starts_with("cannot decompress the layer"), "{number}: {cut}");
    }
    let lz4 = refused(b"\x04\x22\x4d\x18\0\0more");
    assert!(lz4.contains("lz4 compression is not supported"), "{lz4}");
}

#[test]
fn a_header_takes_the_largest_and_oddest_values() {
    let entry = Entry {
        path: b"x".to_vec(),
        kind: Kind::File,
        mode: 0o7777,
        uid: u32::MAX - 1,
        gid: u32::MAX - 1,
        mtime: Mtime { seconds: -1, nanos: 1 },
        xattrs: vec![Xattr { name: b"user.big".to_vec(), value: vec![b'='; 3000] }],
        ..Entry::default()
    };
    let layer = unpack(&archive(&[(entry, b"")]));
    let meta = fs::metadata(layer.diff().join("x")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (u32::MAX - 1, u32::MAX - 1, 0o7777)
    );
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (-1, 1));
    assert_eq!(xattrs(&layer.diff().join("x"))["user.big"].len(), 3000);
}

#[test]
fn names_of_every_length_fit() {
    let mut entries = Vec::new();
    for length in (90..300).step_by(1) {
        // Slashes at many places, so that every way to split a name for ustar comes up.
        let path: Vec<u8> = (0..length)
            .map(|at| if at % 37 == 36 { b'/' } else { b'a' + (at % 26) as u8 })
            .collect();
        let path = [path, length.to_string().into_bytes()].concat();
        entries.push((Entry { path, mode: 0o644, ..Entry::default() }, &b""[..]));
    }
    let layer = unpack(&archive(&entries));
    for (entry, _) in &entries {
        assert!(layer.diff().join(name(&entry.path)).is_file());
    }
}
