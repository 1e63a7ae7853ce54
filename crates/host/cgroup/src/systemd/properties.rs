//! Files of cgroup v2 to systemd's properties. systemd writes these files itself whenever it looks at the unit again
//! (`daemon-reload`), so it has to know what is in them.

use ferry_dbus::Value;

use crate::setting::Setting;

/// More processors than any kernel knows: a list names no bits beyond.
const MAX_CPU: usize = 8192;

/// The properties that say the same as what is written. What has none (`io.max`, `hugetlb.*`) systemd leaves alone.
pub(super) fn of(limits: &[Setting]) -> Vec<(&'static str, Value)> {
    let mut all: Vec<(&'static str, Value)> = Vec::new();
    for limit in limits {
        for (name, value) in one(&limit.file, limit.value.trim()) {
            // As in the files, the last one wins.
            all.retain(|(other, _)| *other != name);
            all.push((name, value));
        }
    }
    all
}

/// A value that is none of the file's kind is nobody's property: the kernel refuses it.
fn one(file: &str, value: &str) -> Vec<(&'static str, Value)> {
    let number = |name| number(value).map(|number| (name, Value::U64(number)));
    let cpus = |name| bits(value).map(|bits| (name, Value::bytes(&bits)));
    let property = match file {
        "memory.max" => number("MemoryMax"),
        "memory.high" => number("MemoryHigh"),
        "memory.low" => number("MemoryLow"),
        "memory.min" => number("MemoryMin"),
        "memory.swap.max" => number("MemorySwapMax"),
        "pids.max" => number("TasksMax"),
        "cpu.weight" => number("CPUWeight"),
        // systemd's word for idle is a weight of 0.
        "cpu.idle" if value == "1" => Some(("CPUWeight", Value::U64(0))),
        "io.weight" => weight(value).map(|weight| ("IOWeight", Value::U64(weight))),
        "cpuset.cpus" => cpus("AllowedCPUs"),
        "cpuset.mems" => cpus("AllowedMemoryNodes"),
        "cpu.max" => return quota(value),
        _ => None,
    };
    property.into_iter().collect()
}

/// A number as the kernel reads it, with its letters for units; `max` is systemd's infinity.
fn number(text: &str) -> Option<u64> {
    if text == "max" {
        return Some(u64::MAX);
    }
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        b't' | b'T' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `100` or `default 100`; weights of single devices stay in the file.
fn weight(text: &str) -> Option<u64> {
    text.strip_prefix("default").unwrap_or(text).trim().parse().ok()
}

/// `quota [period]` in microseconds. systemd keeps whole percents of a processor on the disk: rounded up, as runc does it.
fn quota(text: &str) -> Vec<(&'static str, Value)> {
    let mut words = text.split_whitespace();
    let quota = words.next().unwrap_or_default();
    let period = words.next().map_or(Some(100_000), |period| period.parse::<u64>().ok());
    let Some(period) = period.filter(|period| *period > 0) else { return Vec::new() };
    let per_second = match quota {
        "max" => u64::MAX,
        quota => {
            let Ok(quota) = quota.parse::<u64>() else { return Vec::new() };
            let Some(scaled) = quota.checked_mul(1_000_000) else { return Vec::new() };
            (scaled / period).next_multiple_of(10_000)
        }
    };
    vec![("CPUQuotaPerSecUSec", Value::U64(per_second)), ("CPUQuotaPeriodUSec", Value::U64(period))]
}

/// `0-3,5` as bits, the first byte has those of the first eight.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|it| *it < MAX_CPU);
        for cpu in number(first)?..=number(last)? {
            if bits.len() <= cpu / 8 {
                bits.resize(cpu / 8 + 1, 0);
            }
            bits[cpu / 8] |= 1 << (cpu % 8);
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Vec<(&'static str, Value)> {
        let setting = |(file, value): &(&str, &str)| Setting::required("any", *file, value);
        of(&files.iter().map(setting).collect::<Vec<_>>())
    }

    fn numbers(files: &[(&str, &str)]) -> Vec<(&'static str, u64)> {
        let number = |(name, value): (&'static str, Value)| match value {
            Value::U64(number) => (name, number),
            other => panic!("{name}: {other:?}"),
        };
        read(files).into_iter().map(number).collect()
    }

    #[test]
    fn limits_are_said_twice() {
        let files = [("memory.max", "67108864"), ("pids.max", "max"), ("cpu.weight", "59")];
        let expected = [("MemoryMax", 64 << 20), ("TasksMax", u64::MAX), ("CPUWeight", 59)];
        assert_eq!(numbers(&files), expected);
        assert_eq!(
            numbers(&[("memory.high", "48M"), ("io.weight", "default 200")]),
            [("MemoryHigh", 48 << 20), ("IOWeight", 200)]
        );
        // The later one is what is in the file, too.
        assert_eq!(numbers(&[("cpu.weight", "59"), ("cpu.idle", "1")]), [("CPUWeight", 0)]);
        assert!(read(&[("io.max", "8:0 rbps=1"), ("memory.max", "some"), ("x", "1")]).is_empty());
    }

    #[test]
    fn quotas_are_rounded_up_to_whole_percents() {
        let quota = |text| numbers(&[("cpu.max", text)]);
        let expected =
            |quota, period| vec![("CPUQuotaPerSecUSec", quota), ("CPUQuotaPeriodUSec", period)];
        assert_eq!(quota("50000 100000"), expected(500_000, 100_000));
        assert_eq!(quota("50100 100000"), expected(510_000, 100_000));
        assert_eq!(quota("max 50000"), expected(u64::MAX, 50_000));
        assert_eq!(quota("20000"), expected(200_000, 100_000));
        for wrong in ["", "a b", "1 0", "1 a", "99999999999999999999 1"] {
            assert!(quota(wrong).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn processors_are_bits() {
        assert_eq!(read(&[("cpuset.cpus", "0-3,9")]), [("AllowedCPUs", Value::bytes(&[15, 2]))]);
        assert_eq!(read(&[("cpuset.mems", "0")]), [("AllowedMemoryNodes", Value::bytes(&[1]))]);
        assert!(read(&[("cpuset.cpus", "0-99999999")]).is_empty());
    }
}
