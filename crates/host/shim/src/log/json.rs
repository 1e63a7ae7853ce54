//! A container's log in Docker's json-file format: `{"log":"text\n","stream":"stdout","time":"…"}`, a record a line.
//!
//! Lines longer than 16 KiB become several records, of which only the last ends with a newline, as dockerd's copier does it.
//! Files are rotated as `rotate.rs` says.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use ferry_stdx::time::Timestamp;

use super::{MAX_RECORD, Stream, rotate::rotate};
use crate::launch::LogFile;

/// Encoded bytes are written out when there are so many of them.
const BATCH: usize = 256 * 1024;

/// Writes one container's log.
#[derive(Debug)]
pub(crate) struct JsonLog {
    settings: LogFile,
    file: File,
    written: u64,
    batch: Vec<u8>,
    /// Attributes as they stand in every record, comma included.
    attributes: String,
    pending: [Vec<u8>; 2],
    last_time: i64,
}

impl JsonLog {
    /// Opens the log for appending.
    pub(crate) fn open(settings: LogFile) -> io::Result<JsonLog> {
        let file = open_file(&settings.path)?;
        let written = file.metadata()?.len();
        let attributes = if settings.attributes.is_empty() {
            String::new()
        } else {
            format!("\"attrs\":{},", serde_json::to_string(&settings.attributes)?)
        };
        Ok(JsonLog {
            settings,
            file,
            written,
            batch: Vec::new(),
            attributes,
            pending: [Vec::new(), Vec::new()],
            last_time: 0,
        })
    }

    /// Adds what was read from a stream at one moment. Incomplete lines wait for their end.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: i64) -> io::Result<()> {
        // A clock that steps back must not make records go backwards.
        self.last_time = self.last_time.max(now);
        let tail = self.tail(stream);
        let index = stream as usize;
        let mut rest = bytes;
        while let Some(at) = find_newline(rest) {
            let (line, after) = rest.split_at(at + 1);
            rest = after;
            if self.pending[index].is_empty() {
                self.line(line, &tail)?;
            } else {
                let mut whole = std::mem::take(&mut self.pending[index]);
                whole.extend_from_slice(line);
                self.line(&whole, &tail)?;
                whole.clear();
                self.pending[index] = whole;
            }
        }
        if !rest.is_empty() {
            self.hold(index, rest, &tail)?;
        }
        self.flush()
    }

    /// The beginning of a line that waits for its end.
    pub(crate) fn unfinished(&self, stream: Stream) -> &[u8] {
        &self.pending[stream as usize]
    }

    /// Writes lines that never ended. The stream is over.
    pub(crate) fn finish(&mut self, now: i64) -> io::Result<()> {
        self.last_time = self.last_time.max(now);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                let tail = self.tail(stream);
                self.line(&pending, &tail)?;
            }
        }
        self.flush()
    }

    /// Keeps an incomplete line; whatever fills a record is written.
    fn hold(&mut self, index: usize, rest: &[u8], tail: &[u8]) -> io::Result<()> {
        let mut whole = std::mem::take(&mut self.pending[index]);
        whole.extend_from_slice(rest);
        let full = whole.len() - whole.len() % MAX_RECORD;
        if full > 0 {
            for record in whole[..full].chunks(MAX_RECORD) {
                self.record(record, tail)?;
            }
            whole.drain(..full);
        }
        self.pending[index] = whole;
        Ok(())
    }

    fn line(&mut self, line: &[u8], tail: &[u8]) -> io::Result<()> {
        for record in line.chunks(MAX_RECORD) {
            self.record(record, tail)?;
        }
        Ok(())
    }

    fn record(&mut self, text: &[u8], tail: &[u8]) -> io::Result<()> {
        let start = self.batch.len();
        self.batch.extend_from_slice(b"{\"log\":\"");
        escape(text, &mut self.batch);
        self.batch.extend_from_slice(tail);
        let length = (self.batch.len() - start) as u64;
        self.written += length;
        let limit = self.settings.max_size;
        if limit > 0 && self.written >= limit {
            self.flush()?;
            self.rotate()?;
        } else if self.batch.len() >= BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Everything of a record behind its text, the same for all records of one read.
    fn tail(&self, stream: Stream) -> Vec<u8> {
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let time = Timestamp::from_nanos(self.last_time).format_rfc3339_nano();
        format!("\",\"stream\":\"{name}\",{}\"time\":\"{time}\"}}\n", self.attributes).into_bytes()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.batch);
        self.batch.clear();
        // A burst's buffer is not kept: shims are many and mostly idle.
        if self.batch.capacity() > 2 * BATCH {
            self.batch.shrink_to(BATCH);
        }
        written
    }

    fn rotate(&mut self) -> io::Result<()> {
        match self.settings.max_files {
            0 | 1 => self.file.set_len(0)?,
            keep => {
                rotate(&self.settings.path, keep, self.settings.compress)?;
                self.file = open_file(&self.settings.path)?;
            }
        }
        self.written = 0;
        Ok(())
    }
}

fn open_file(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Word-wise search: the line's end is the hot spot of a container that talks much.
fn find_newline(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    for word in bytes.chunks_exact(8) {
        let word =
            u64::from_ne_bytes(word.try_into().unwrap_or_default()) ^ (ONES * u64::from(b'\n'));
        if word.wrapping_sub(ONES) & !word & HIGHS != 0 {
            break;
        }
        at += 8;
    }
    bytes[at..].iter().position(|byte| *byte == b'\n').map(|found| at + found)
}

/// What a byte needs in a JSON string: 0 nothing, 1 an escape, 2 part of a multi-byte character.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = if byte < 0x20 || byte == 0x7f {
            1
        } else if byte >= 0x80 {
            2
        } else {
            0
        };
        byte += 1;
    }
    class[b'"' as usize] = 1;
    class[b'\\' as usize] = 1;
    class[b'<' as usize] = 1;
    class[b'>' as usize] = 1;
    class[b'&' as usize] = 1;
    class[0x7f] = 0;
    class
};

/// Appends `text` as the inside of a JSON string, as dockerd's jsonlog marshaller writes it: `<`, `>`, `&` and the two Unicode
/// line separators are escaped, invalid UTF-8 becomes U+FFFD.
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let plain =
            rest.iter().position(|byte| CLASS[usize::from(*byte)] != 0).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let Some(first) = rest.first() else { return };
        if CLASS[usize::from(*first)] == 1 {
            let same = rest.iter().take_while(|byte| *byte == first).count();
            escape_run(*first, same, out);
            rest = &rest[same..];
        } else {
            rest = multi_byte(rest, out);
        }
    }
}

/// A run of one byte: binary output is often a sea of zeros.
fn escape_run(byte: u8, count: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let long = [b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    let escaped: &[u8] = match byte {
        b'\n' => b"\\n",
        b'\r' => b"\\r",
        b'\t' => b"\\t",
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        _ => &long,
    };
    let start = out.len();
    let total = escaped.len() * count;
    out.reserve(total);
    out.extend_from_slice(escaped);
    // Doubling copies: one memcpy for as much as is there already.
    while out.len() - start < total {
        let have = out.len() - start;
        let more = have.min(total - have);
        out.extend_from_within(start..start + more);
    }
}

/// The first character of `rest`, which is not ASCII. Returns what is behind it.
fn multi_byte<'t>(rest: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
    let length = match rest[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    match rest.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()) {
        Some("\u{2028}") => out.extend_from_slice(b"\\u2028"),
        Some("\u{2029}") => out.extend_from_slice(b"\\u2029"),
        Some(character) if length > 1 => out.extend_from_slice(character.as_bytes()),
        _ => {
            out.extend_from_slice(b"\\ufffd");
            return &rest[1..];
        }
    }
    &rest[length..]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("ferry-shim-log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    fn log(path: &std::path::Path, max_size: u64, max_files: u32) -> JsonLog {
        let path = path.join("x-json.log");
        JsonLog::open(LogFile { path, max_size, max_files, ..LogFile::default() }).unwrap()
    }

    #[test]
    fn lines_and_parts_of_lines() {
        let dir = scratch("lines");
        let mut log = log(&dir, 0, 1);
        log.write(Stream::Stdout, b"one\ntw", 1_000_000_000).unwrap();
        log.write(Stream::Stderr, b"err\n", 2_000_000_000).unwrap();
        log.write(Stream::Stdout, b"o\nrest", 1_500_000_000).unwrap();
        log.finish(3_000_000_000).unwrap();
        let text = fs::read_to_string(dir.join("x-json.log")).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                r#"{"log":"one\n","stream":"stdout","time":"1970-01-01T00:00:01Z"}"#,
                r#"{"log":"err\n","stream":"stderr","time":"1970-01-01T00:00:02Z"}"#,
                r#"{"log":"two\n","stream":"stdout","time":"1970-01-01T00:00:02Z"}"#,
                r#"{"log":"rest","stream":"stdout","time":"1970-01-01T00:00:03Z"}"#,
            ]
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_line_of_many_bytes_becomes_several_records() {
        let dir = scratch("long");
        let mut log = log(&dir, 0, 1);
        let line = [vec![b'a'; MAX_RECORD + 10], b"\n".to_vec()].concat();
        log.write(Stream::Stdout, &line[..100], 0).unwrap();
        log.write(Stream::Stdout, &line[100..], 0).unwrap();
        let text = fs::read_to_string(dir.join("x-json.log")).unwrap();
        let records: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let lengths: Vec<_> =
            records.iter().map(|record| record["log"].as_str().unwrap().len()).collect();
        assert_eq!(lengths, [MAX_RECORD, 11]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn every_byte_survives_or_is_replaced_as_json_demands() {
        let mut out = Vec::new();
        escape("a\"\\<>&\u{7f}\n\r\t\0\u{1b}é€😀\u{2028}".as_bytes(), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a\\\"\\\\\\u003c\\u003e\\u0026\u{7f}\\n\\r\\t\\u0000\\u001bé€😀\\u2028"
        );
        let mut out = Vec::new();
        escape(b"a\xff\xe2\x82b\0\0\0", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "a\\ufffd\\ufffd\\ufffdb\\u0000\\u0000\\u0000");
        let all: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        escape(&all, &mut out);
        let json = format!("\"{}\"", String::from_utf8(out).unwrap());
        assert!(serde_json::from_str::<String>(&json).is_ok());
    }

    #[test]
    fn old_files_make_room() {
        let dir = scratch("rotate");
        let mut log = log(&dir, 200, 3);
        for number in 0..40 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes(), 0).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["x-json.log", "x-json.log.1", "x-json.log.2"]);
        for name in names {
            assert!(fs::metadata(dir.join(name)).unwrap().len() <= 300);
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn old_files_are_packed() {
        let dir = scratch("packed");
        let path = dir.join("x-json.log");
        let settings =
            LogFile { path, max_size: 200, max_files: 3, compress: true, ..LogFile::default() };
        let mut log = JsonLog::open(settings).unwrap();
        for number in 0..40 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes(), 0).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["x-json.log", "x-json.log.1.gz", "x-json.log.2.gz"]);
        let packed = File::open(dir.join("x-json.log.1.gz")).unwrap();
        assert!(crate::log_files::packed_identity(&packed).unwrap().contains('.'));
        let mut text = String::new();
        let packed = File::open(dir.join("x-json.log.1.gz")).unwrap();
        let mut decoder = flate2::read::GzDecoder::new(packed);
        io::Read::read_to_string(&mut decoder, &mut text).unwrap();
        assert!(text.lines().count() >= 3 && text.ends_with('\n'), "{text}");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn newlines_are_found_wherever_they_are() {
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![b'\x0b'; length];
                bytes[at] = b'\n';
                assert_eq!(find_newline(&bytes), Some(at));
            }
            assert_eq!(find_newline(&vec![b'\t'; length]), None);
        }
    }
}
