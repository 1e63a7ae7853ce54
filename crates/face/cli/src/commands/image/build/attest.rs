//! `--attest`, `--provenance` and `--sbom`: what is to be said of an image. It is kept beside the image, and goes with it into archives and to
//! registries; beside files that are exported alone it is documents.

use ferry_docker_api::solve::{AskedProvenance, BuildAsk};

use crate::framework::{CliError, Matches};

/// Reads the flags.
pub(super) fn read(matches: &Matches, ask: &mut BuildAsk) -> Result<(), CliError> {
    let mut all: Vec<String> = matches.texts("attest").to_vec();
    for kind in ["provenance", "sbom"] {
        match matches.text(kind) {
            "" => {}
            "true" | "1" => all.push(format!("type={kind}")),
            "false" | "0" => all.push(format!("type={kind},disabled=true")),
            text => all.push(format!("type={kind},{text}")),
        }
    }
    for text in &all {
        one(text, ask)?;
    }
    Ok(())
}

/// `type=provenance,mode=max,version=v1`, `type=sbom`, `…,disabled=true`.
fn one(text: &str, ask: &mut BuildAsk) -> Result<(), CliError> {
    let (mut kind, mut disabled) = ("", false);
    let mut provenance = AskedProvenance::default();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').unwrap_or((part, "true"));
        match (name, value) {
            ("type", _) => kind = value,
            ("disabled", "true" | "false") => disabled = value == "true",
            ("mode", "min" | "max") => provenance.max = value == "max",
            ("version", "v0.2" | "v1") => provenance.v1 = value == "v1",
            _ => {
                let words =
                    format!("not supported yet: the attribute {name}={value} of an attestation");
                return Err(CliError::new(words));
            }
        }
    }
    match kind {
        "provenance" => ask.provenance = (!disabled).then_some(provenance),
        "sbom" if provenance == AskedProvenance::default() => ask.sbom = !disabled,
        "sbom" => {
            return Err(CliError::new("--sbom has no mode and no version"));
        }
        "" => return Err(CliError::new(format!("attestation type not specified: {text:?}"))),
        other => {
            return Err(CliError::new(format!(
                "not supported yet: attestations of type {other:?}"
            )));
        }
    }
    Ok(())
}
