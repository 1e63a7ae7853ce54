use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use ferry_stdx::time::Timestamp;

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ferry-logs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("c-json.log")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(number: u32, stream: &str) -> String {
    let time = Timestamp::from_seconds(i64::from(number)).format_rfc3339_nano();
    format!("{{\"log\":\"line {number}\\n\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n")
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn all() -> ReadOptions {
    ReadOptions {
        stdout: true,
        stderr: true,
        since: None,
        until: None,
        tail: None,
        timestamps: false,
        details: false,
        framing: Framing::Raw,
    }
}

fn shown(path: &Path, options: &ReadOptions) -> String {
    let mut text = Vec::new();
    let log = OpenLog::open(path, None).unwrap();
    log.read(options, &mut |piece| {
        text.extend(piece);
        true
    })
    .unwrap();
    String::from_utf8(text).unwrap()
}

/// Lines 1 to 9 in three files, the oldest in `.2`.
fn rotated(scratch: &Scratch) -> PathBuf {
    let log = scratch.log();
    for number in 1..=9 {
        let suffix = [".2", ".1", ""][(number as usize - 1) / 3];
        let stream = if number % 2 == 0 { "stderr" } else { "stdout" };
        append(Path::new(&format!("{}{suffix}", log.display())), &line(number, stream));
    }
    log
}

#[test]
fn the_files_are_read_oldest_first() {
    let scratch = Scratch::new("order");
    let log = rotated(&scratch);
    let expected: String = (1..=9).map(|number| format!("line {number}\n")).collect();
    assert_eq!(shown(&log, &all()), expected);
    assert_eq!(
        shown(&log, &ReadOptions { stdout: false, ..all() }),
        "line 2\nline 4\nline 6\nline 8\n"
    );
}

#[test]
fn the_last_lines_wherever_they_are() {
    let scratch = Scratch::new("tail");
    let log = rotated(&scratch);
    for tail in 0..=12 {
        let expected: String = (1..=9)
            .skip(9_usize.saturating_sub(tail))
            .map(|number| format!("line {number}\n"))
            .collect();
        let tail = Some(tail as u64);
        assert_eq!(shown(&log, &ReadOptions { tail, ..all() }), expected, "{tail:?}");
    }
}

#[test]
fn a_span_of_time_with_stamps_and_heads() {
    let scratch = Scratch::new("span");
    let log = rotated(&scratch);
    let options = ReadOptions {
        since: Some(Timestamp::from_seconds(3)),
        until: Some(Timestamp::from_seconds(4)),
        timestamps: true,
        framing: Framing::Multiplexed,
        ..all()
    };
    assert_eq!(
        shown(&log, &options),
        "\u{1}\0\0\0\0\0\0\u{26}1970-01-01T00:00:03.000000000Z line 3\n\
         \u{2}\0\0\0\0\0\0\u{26}1970-01-01T00:00:04.000000000Z line 4\n"
    );
}

#[test]
fn following_loses_nothing_when_the_log_is_rotated() {
    let scratch = Scratch::new("follow");
    let log = scratch.log();
    append(&log, &line(0, "stdout"));
    let (until_closed, keep_open) = rustix::pipe::pipe().unwrap();
    let (sender, receiver) = mpsc::channel();
    let path = log.clone();
    let reader = std::thread::spawn(move || {
        let log = OpenLog::open(&path, Some(Follow { until_closed })).unwrap();
        log.read(&all(), &mut |piece| sender.send(piece).is_ok()).unwrap();
    });
    let mut text = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    for number in 1..200 {
        if number % 20 == 0 {
            let numbered = |n: u32| PathBuf::from(format!("{}.{n}", log.display()));
            for old in (1..4).rev() {
                let _ = fs::rename(numbered(old), numbered(old + 1));
            }
            fs::rename(&log, numbered(1)).unwrap();
        }
        append(&log, &line(number, "stdout"));
        // The reader may be late, but not by more files than are kept.
        if number % 20 == 19 {
            while !String::from_utf8_lossy(&text).contains(&format!("line {number}\n")) {
                text.extend(receiver.recv_timeout(Duration::from_secs(10)).unwrap());
            }
        }
    }
    drop(keep_open);
    reader.join().unwrap();
    text.extend(receiver.try_iter().flatten());
    let expected: String = (0..200).map(|number| format!("line {number}\n")).collect();
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn what_is_torn_or_foreign_is_passed_over() {
    let scratch = Scratch::new("torn");
    let log = scratch.log();
    append(&log, &line(1, "stdout"));
    append(&log, "{\"log\":\"half\nnonsense\n\n");
    append(&log, &line(2, "stdout"));
    append(&log, "{\"log\":\"cut");
    assert_eq!(shown(&log, &all()), "line 1\nline 2\n");
    assert_eq!(shown(&scratch.0.join("missing"), &all()), "");
}

#[test]
fn escapes_and_attributes_read_back() {
    let record = decode(br#"{"log":"a\u0000\"\\\u00e9\ud83d\ude00\n","stream":"stderr","time":"1970-01-01T00:00:00Z"}"#).unwrap();
    assert_eq!(record.text, "a\0\"\\é😀\n".as_bytes());
    let record = decode(
        br#"{"log":"x\n","stream":"stdout","attrs":{"k":"v"},"time":"1970-01-01T00:00:00Z"}"#,
    )
    .unwrap();
    assert_eq!(record.attributes, [("k".to_owned(), "v".to_owned())]);
}

#[test]
fn options_are_read_or_refused() {
    let options = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert!(
        check_settings("json-file", &options(&[("max-size", "10m"), ("max-file", "3")])).is_ok()
    );
    for (driver, pairs, words) in [
        ("json-file", &[("nope", "1")][..], "unknown log opt 'nope' for json-file log driver"),
        ("json-file", &[("max-size", "big")], "invalid size: 'big'"),
        ("json-file", &[("max-file", "0")], "max-file cannot be less than 1"),
        ("gelf", &[], "is not supported"),
        ("nothing", &[], "plugin \"nothing\" not found"),
    ] {
        let error = check_settings(driver, &options(pairs)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// What the shim does when a file is full, here with a file that was written by hand.
fn packed(path: &Path, number: u32) {
    use ferry_shim::log_files::{identity, numbered};
    use flate2::{Compression, GzBuilder};
    let plain = numbered(path, number, false);
    let file = fs::File::open(&plain).unwrap();
    let extra = format!(r#"{{"file":"{}"}}"#, identity(&file).unwrap());
    let target = fs::File::create(numbered(path, number, true)).unwrap();
    let mut encoder = GzBuilder::new().extra(extra).write(target, Compression::fast());
    encoder.write_all(&fs::read(&plain).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(plain).unwrap();
}

#[test]
fn packed_files_are_read_as_what_they_were() {
    let scratch = Scratch::new("packed");
    let path = scratch.log();
    for (name, numbers) in [("c-json.log.2", 0..3), ("c-json.log.1", 3..6), ("c-json.log", 6..8)] {
        let text: String = numbers.map(|number| line(number, "stdout")).collect();
        append(&scratch.0.join(name), &text);
    }
    let plain = shown(&path, &all());
    packed(&path, 2);
    packed(&path, 1);
    assert_eq!(shown(&path, &all()), plain);
    assert_eq!(plain.lines().count(), 8);
    for tail in 0..10 {
        let options = ReadOptions { tail: Some(tail), ..all() };
        assert_eq!(shown(&path, &options).lines().count() as u64, tail.min(8));
    }
    // One that is packed and not removed yet counts once.
    append(&scratch.0.join("c-json.log.1"), &(3..6).map(|n| line(n, "stdout")).collect::<String>());
    assert_eq!(shown(&path, &all()), plain);
}

#[test]
fn a_follower_sees_nothing_twice_when_files_are_packed() {
    let scratch = Scratch::new("packed-follow");
    let path = scratch.log();
    append(&path, &line(0, "stdout"));
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let (sender, receiver) = mpsc::channel();
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || {
            let follow = Follow { until_closed: theirs.into() };
            let log = OpenLog::open(&path, Some(follow)).unwrap();
            log.read(&all(), &mut |piece| sender.send(String::from_utf8(piece).unwrap()).is_ok())
                .unwrap();
        })
    };
    let mut seen = String::new();
    let mut wait_for = |number: u32| {
        while !seen.ends_with(&format!("line {number}\n")) {
            seen.push_str(&receiver.recv_timeout(Duration::from_secs(20)).unwrap());
        }
        seen.clone()
    };
    wait_for(0);
    for number in 1..6 {
        use ferry_shim::log_files::numbered;
        if numbered(&path, 1, true).exists() {
            fs::rename(numbered(&path, 1, true), numbered(&path, 2, true)).unwrap();
        }
        fs::rename(&path, numbered(&path, 1, false)).unwrap();
        packed(&path, 1);
        append(&path, &line(number, "stdout"));
        let all = wait_for(number);
        assert_eq!(all.lines().count() as u32, number + 1, "{all}");
    }
    drop(ours);
    reader.join().unwrap();
}

#[test]
fn an_open_log_is_read_to_its_end_though_it_is_removed() {
    let scratch = Scratch::new("removed");
    let path = rotated(&scratch);
    let (until_closed, keep_open) = rustix::pipe::pipe().unwrap();
    let log = OpenLog::open(&path, Some(Follow { until_closed })).unwrap();
    // A container's last words, and its removal before the reader had its turn.
    append(&path, &line(10, "stdout"));
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    drop(keep_open);
    let mut text = Vec::new();
    log.read(&all(), &mut |piece| {
        text.extend(piece);
        true
    })
    .unwrap();
    let text = String::from_utf8(text).unwrap();
    let numbers: Vec<&str> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"], "{text}");
}
