//! Platforms: `linux/arm64/v8`, and which image fits which machine (containerd/platforms).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An operating system and processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `linux`, …
    pub os: String,
    /// Version, for Windows.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features, for Windows.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// `v7`, `v8`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text is no platform. The words are containerd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlatform {
    /// One word, which is neither of what it may be.
    #[error("\"{0}\": unknown operating system or architecture: invalid argument")]
    Unknown(String),
    /// Too many parts, or characters that no part has.
    #[error("\"{0}\": cannot parse platform specifier: invalid argument")]
    Format(String),
}

impl Platform {
    /// What this program was built for, and so what it runs.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            ..Platform::default()
        }
    }

    /// The same platform in containerd's normal spelling.
    #[must_use]
    pub fn normalized(mut self) -> Platform {
        self.os = self.os.to_ascii_lowercase();
        let (architecture, variant) = normalize(
            &self.architecture.to_ascii_lowercase(),
            &self.variant.unwrap_or_default().to_ascii_lowercase(),
        );
        self.architecture = architecture;
        self.variant = Some(variant).filter(|variant| !variant.is_empty());
        self
    }

    /// How well an image for `self` runs where `wanted` is asked: 0 does not, more is better.
    pub fn fitness(&self, wanted: &Platform) -> u32 {
        let (own, wanted) = (self.clone().normalized(), wanted.clone().normalized());
        if own.os != wanted.os || own.architecture != wanted.architecture {
            return 0;
        }
        let level = |platform: &Platform| match (platform.architecture.as_str(), &platform.variant)
        {
            (_, Some(variant)) => variant.trim_start_matches('v').parse::<u32>().unwrap_or(0),
            ("arm", None) => 7,
            ("arm64", None) => 8,
            _ => 1,
        };
        let (has, may) = (level(&own), level(&wanted));
        // An older variant runs on a newer processor, not the other way round.
        if has > may { 0 } else { has.saturating_add(1) }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Platform, InvalidPlatform> {
        let word = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| word(part)) {
            return Err(InvalidPlatform::Format(text.to_owned()));
        }
        let platform = |os: &str, architecture: &str, variant: Option<&str>| Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            ..Platform::default()
        };
        let host = Platform::host();
        Ok(match parts[..] {
            [one] if is_os(one) => platform(one, &host.architecture, None),
            [one] if is_architecture(one) => platform(&host.os, one, None),
            [os, architecture] => platform(os, architecture, None),
            [os, architecture, variant] => platform(os, architecture, Some(variant)),
            [_] => return Err(InvalidPlatform::Unknown(text.to_owned())),
            _ => return Err(InvalidPlatform::Format(text.to_owned())),
        }
        .normalized())
    }
}

fn is_os(word: &str) -> bool {
    matches!(
        word,
        "linux" | "windows" | "darwin" | "freebsd" | "netbsd" | "openbsd" | "solaris" | "wasi"
    )
}

fn is_architecture(word: &str) -> bool {
    matches!(
        word,
        "386"
            | "i386"
            | "amd64"
            | "x86_64"
            | "x86-64"
            | "arm"
            | "armhf"
            | "armel"
            | "arm64"
            | "aarch64"
            | "ppc64le"
            | "riscv64"
            | "s390x"
            | "loong64"
            | "mips64le"
            | "wasm"
    )
}

fn normalize(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("linux/armhf", "linux/arm/v7"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown, "{text}");
        }
        assert_eq!("arm64".parse::<Platform>().unwrap().to_string(), "linux/arm64");
        for text in ["", "nothing", "a/b/c/d", "linux/", "a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn who_runs_what() {
        let fits = |image: &str, machine: &str| {
            image.parse::<Platform>().unwrap().fitness(&machine.parse().unwrap())
        };
        assert!(fits("linux/arm/v6", "linux/arm/v7") > 0);
        assert_eq!(fits("linux/arm/v7", "linux/arm/v6"), 0);
        assert!(fits("linux/arm/v7", "linux/arm/v7") > fits("linux/arm/v6", "linux/arm/v7"));
        assert_eq!(fits("linux/arm64", "linux/amd64"), 0);
        assert_eq!(fits("windows/amd64", "linux/amd64"), 0);
        assert_eq!(fits("linux/amd64/v3", "linux/amd64"), 0);
        // The largest variant number that there can be is still one that fits itself.
        assert!(fits("linux/arm/v4294967295", "linux/arm/v4294967295") > 0);
    }
}
