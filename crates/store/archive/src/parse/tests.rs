//! The parser on hand-made blocks.

use super::*;

/// A valid header block.
fn block(name: &str, flag: u8, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    sum(block)
}

fn sum(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The blocks of a body.
fn body(bytes: &[u8]) -> Vec<[u8; BLOCK]> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(BLOCK), 0);
    padded.as_chunks::<BLOCK>().0.to_vec()
}

fn extension(flag: u8, text: &[u8]) -> Vec<[u8; BLOCK]> {
    [vec![block("x", flag, text.len() as u64)], body(text)].concat()
}

/// Feeds all blocks; the last one must complete an entry.
fn entry(blocks: &[[u8; BLOCK]]) -> Result<Entry, ParseError> {
    let mut parser = Parser::new(Limits::default());
    let (last, first) = blocks.split_last().unwrap();
    for block in first {
        match parser.block(block)? {
            Step::More => {}
            step => panic!("{step:?} too early"),
        }
    }
    match parser.block(last)? {
        Step::Entry(entry) => Ok(*entry),
        step => panic!("{step:?} instead of an entry"),
    }
}

#[track_caller]
fn refused(blocks: &[[u8; BLOCK]]) -> ParseError {
    let mut parser = Parser::new(Limits::default());
    for block in blocks {
        match parser.block(block) {
            Ok(Step::More) => {}
            Ok(step) => panic!("{step:?}"),
            Err(error) => return error,
        }
    }
    panic!("accepted")
}

fn pax(records: &str) -> Vec<[u8; BLOCK]> {
    extension(b'x', records.as_bytes())
}

#[test]
fn numbers_are_octal_or_base_256() {
    use super::header::number;
    for (field, want) in [
        (&b"0000644\0"[..], Some(0o644)),
        (b"   644 \0", Some(0o644)),
        (b"644\0junk", Some(0o644)),
        (b"\0\0\0\0", Some(0)),
        (b"    ", Some(0)),
        (b"12345678", None),
        (b"64 4\0", None),
        (b"-1\0", None),
        (b"\x80\0\0\0\0\0\0\x05", Some(5)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
        (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
        (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
        (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
        (b"777777777777777777777777", None),
    ] {
        assert_eq!(number(field), want, "{field:?}");
    }
}

#[test]
fn the_size_in_a_pax_header_is_the_one_that_counts() {
    let blocks = [pax("13 size=1024\n"), vec![block("f", b'0', 3)]].concat();
    let entry = entry(&blocks).unwrap();
    assert_eq!((entry.size, entry.stored), (1024, 1024));
}

#[test]
fn the_size_in_a_pax_header_is_not_the_size_of_a_long_name_behind_it() {
    // GHSA-3cv2-h65g-fgmm: with the size applied to the `L` header, readers disagree where the next header is.
    let blocks =
        [pax("13 size=1024\n"), extension(b'L', b"long\0"), vec![block("short", b'0', 0)]].concat();
    let entry = entry(&blocks).unwrap();
    assert_eq!((&*entry.path, entry.stored), (&b"long"[..], 1024));
}

#[test]
fn what_has_no_payload_has_none_whatever_its_size_says() {
    for flag in b"123456" {
        let one = entry(&[block("f", *flag, 4096)]).unwrap();
        let other = entry(&[pax("13 size=1024\n"), vec![block("f", *flag, 9)]].concat()).unwrap();
        assert_eq!((one.stored, other.stored), (0, 0), "{}", char::from(*flag));
    }
}

#[test]
fn pax_beats_gnu_beats_the_plain_name() {
    let long = extension(b'L', b"gnu\0");
    let file = vec![block("plain", b'0', 0)];
    assert_eq!(entry(&[long.clone(), file.clone()].concat()).unwrap().path, b"gnu");
    let both = [long, pax("12 path=pax\n"), file.clone()].concat();
    assert_eq!(entry(&both).unwrap().path, b"pax");
    // An empty value takes the record back; a global header has no effect.
    let empty = [pax("12 path=pax\n"), pax("8 path=\n"), file.clone()].concat();
    assert_eq!(entry(&empty).unwrap().path, b"plain");
    let global = [extension(b'g', b"12 path=pax\n"), file].concat();
    assert_eq!(entry(&global).unwrap().path, b"plain");
}

#[test]
fn an_extension_counts_for_one_entry_only() {
    let mut parser = Parser::new(Limits::default());
    for block in [pax("12 path=pax\n"), vec![block("one", b'0', 0)]].concat() {
        parser.block(&block).unwrap();
    }
    match parser.block(&block("two", b'0', 0)).unwrap() {
        Step::Entry(entry) => assert_eq!(entry.path, b"two"),
        step => panic!("{step:?}"),
    }
}

#[test]
fn times_are_exact_before_and_after_the_epoch() {
    for (text, seconds, nanos) in [
        ("1", 1, 0),
        ("1.5", 1, 500_000_000),
        ("-1", -1, 0),
        ("-1.5", -2, 500_000_000),
        ("-0.000000001", -1, 999_999_999),
        ("1.1234567899", 1, 123_456_789),
        ("1.", 1, 0),
    ] {
        let record = format!("{} mtime={text}\n", text.len() + 10);
        let record = if record.len() == text.len() + 10 {
            record
        } else {
            format!("{} mtime={text}\n", text.len() + 9)
        };
        let entry = entry(&[pax(&record), vec![block("f", b'0', 0)]].concat());
        let mtime = entry.unwrap().mtime;
        assert_eq!((mtime.seconds, mtime.nanos), (seconds, nanos), "{text}");
    }
}

#[test]
fn pax_records_must_be_exact() {
    for records in [
        "12 path=pax",
        "11 path=pax\n",
        "13 path=pax\n",
        "x path=pax\n",
        "12path=pax\n",
        "012 path=pax\n0",
        "7 path\n",
        "5 =x\n",
        "12 path=pax\n\0",
        "99999999999999999999999 a=b\n",
        "18446744073709551615 a=b\n",
        "0 a=b\n",
        "3 \n",
    ] {
        assert_eq!(refused(&pax(records)), ParseError::PaxRecord, "{records:?}");
    }
    for records in [
        "11 size=-1\n",
        "28 size=9223372036854775808\n",
        "18 uid=4294967295\n",
        "11 mtime=x\n",
        "13 mtime=1.x\n",
        "12 path=a\0b\n",
        "18 SCHILY.xattr.=\n",
    ] {
        let error = refused(&pax(records));
        assert!(matches!(error, ParseError::PaxValue { .. }), "{records:?}: {error}");
    }
}

#[test]
fn limits_hold() {
    let parse = |limits: Limits, blocks: &[[u8; BLOCK]]| {
        let mut parser = Parser::new(limits);
        blocks.iter().find_map(|block| parser.block(block).err())
    };
    let default = Limits::default();
    let huge = [block("x", b'x', u64::from(u32::MAX))];
    assert!(matches!(parse(default, &huge), Some(ParseError::ExtensionTooLong { .. })));
    let huge = [block("x", b'L', 1 << 20)];
    assert!(matches!(parse(default, &huge), Some(ParseError::ExtensionTooLong { .. })));
    let long = format!("5015 path={}\n", "x".repeat(5004));
    let long = [pax(&long), vec![block("f", b'0', 0)]].concat();
    assert!(matches!(parse(default, &long), Some(ParseError::NameTooLong { .. })));
    let two = [block("a", b'0', 0), block("b", b'0', 0)];
    let limits = Limits { entries: 1, ..default };
    assert_eq!(parse(limits, &two), Some(ParseError::TooManyEntries { limit: 1 }));
    let map = "50 GNU.sparse.map=1,1,3,1,5,1,7,1,9,1,11,1,13,1\n";
    let map =
        format!("{}{}", map.replacen("50", &map.len().to_string(), 1), "22 GNU.sparse.size=99\n");
    let sparse = [pax(&map), vec![block("f", b'0', 7)]].concat();
    assert_eq!(parse(default, &sparse), None);
    let limits = Limits { sparse_segments: 6, ..default };
    assert_eq!(parse(limits, &sparse), Some(ParseError::TooManySegments { limit: 6 }));
}

#[test]
fn sparse_maps_must_fit() {
    let file = |records: &str, size: u64| [pax(records), vec![block("f", b'0', size)]].concat();
    let size = "22 GNU.sparse.size=99\n";
    for (map, stored) in [
        ("24 GNU.sparse.map=0,5,3,1\n", 6),
        ("24 GNU.sparse.map=95,5,99\n", 5),
        ("23 GNU.sparse.map=95,5\n", 5),
        ("23 GNU.sparse.map=90,5\n", 6),
    ] {
        let (_, rest) = map.split_once(' ').unwrap();
        let map = format!("{} {rest}", rest.len() + 3);
        let error = refused(&file(&format!("{map}{size}"), stored));
        assert_eq!(error, ParseError::SparseMap, "{map}");
    }
    let version = "22 GNU.sparse.major=2\n22 GNU.sparse.minor=0\n";
    assert_eq!(refused(&file(version, 0)), ParseError::SparseVersion);
    let version =
        format!("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n{}", "25 GNU.sparse.realsize=9\n");
    for data in ["999999999999\n", "x\n", "1\n0\n", "1\n-1\n5\n", &"0".repeat(600)] {
        let blocks = [file(&version, 512), body(data.as_bytes()), body(b"x")].concat();
        let error = refused(&blocks);
        let fits = matches!(error, ParseError::SparseMap | ParseError::TooManySegments { .. });
        assert!(fits, "{data:?}: {error}");
    }
    let whole = [file(&version, 1024), body(b"2\n0\n512\n9\n0\n")].concat();
    let error = refused(&whole);
    assert_eq!(error, ParseError::SparseMap, "the map leaves the file");
}

#[test]
fn ends_and_their_absence() {
    let mut parser = Parser::new(Limits::default());
    assert!(parser.may_end());
    assert!(matches!(parser.block(&[0; BLOCK]), Ok(Step::More)));
    assert!(parser.may_end());
    assert!(matches!(parser.block(&[0; BLOCK]), Ok(Step::End)));
    let zero = [0; BLOCK];
    assert_eq!(refused(&[zero, block("f", b'0', 0)]), ParseError::LoneZeroBlock);
    assert_eq!(
        refused(&[pax("12 path=pax\n"), vec![zero]].concat()),
        ParseError::DanglingExtension
    );
    let mut parser = Parser::new(Limits::default());
    for block in pax("12 path=pax\n") {
        parser.block(&block).unwrap();
    }
    assert!(!parser.may_end());
}

#[test]
fn foreign_types_and_broken_sums_are_named() {
    assert_eq!(refused(&[block("f", b'V', 0)]), ParseError::UnknownType { flag: 'V' });
    let mut broken = block("f", b'0', 0);
    broken[0] ^= 1;
    assert_eq!(refused(&[broken]), ParseError::Checksum);
}

#[test]
fn old_headers_are_understood() {
    let mut v7 = block("dir/", 0, 0);
    v7[257..265].fill(0);
    assert_eq!(entry(&[sum(v7)]).unwrap().kind, Kind::Directory);
    let mut prefixed = block("name", b'0', 0);
    prefixed[345..351].copy_from_slice(b"prefix");
    assert_eq!(entry(&[sum(prefixed)]).unwrap().path, b"prefix/name");
    // GNU keeps times there; Go before 1.8 put a prefix there all the same.
    let mut gnu = prefixed;
    gnu[257..265].copy_from_slice(b"ustar  \0");
    assert_eq!(entry(&[sum(gnu)]).unwrap().path, b"prefix/name");
    gnu[345..357].copy_from_slice(b"14000000000\0");
    assert_eq!(entry(&[sum(gnu)]).unwrap().path, b"name");
}
