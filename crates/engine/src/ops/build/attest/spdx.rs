//! What is in an image, as a document of SPDX 2.3.

use ferry_oci::Digest;
use serde_json::{Value, json};

use super::packages::{Package, Packages};

/// The predicate's kind.
pub(super) const PREDICATE: &str = "https://spdx.dev/Document";

/// A document of the packages that were found in an image.
pub(super) fn document(name: &str, image: &Digest, created: &str, found: &Packages) -> Value {
    let packages: Vec<Value> =
        found.all.iter().enumerate().map(|(at, one)| package(at, one, found)).collect();
    let described = packages.iter().map(|package| {
        json!({
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relatedSpdxElement": package["SPDXID"],
            "relationshipType": "DESCRIBES",
        })
    });
    let described: Vec<Value> = described.collect();
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/ferry-{}", image.hex()),
        "creationInfo": {
            "created": seconds(created),
            "creators": [format!("Tool: ferry-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": described,
    })
}

/// SPDX knows no fractions of seconds.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

fn package(at: usize, one: &Package, found: &Packages) -> Value {
    let url = url(one, found);
    let license = one.license.as_deref().unwrap_or("NOASSERTION");
    json!({
        "SPDXID": format!("SPDXRef-Package-{}-{}", one.kind, at + 1),
        "name": one.name,
        "versionInfo": one.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": license,
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": url,
        }],
    })
}

/// A package as a package URL has it.
fn url(one: &Package, found: &Packages) -> String {
    let (name, version) = (&one.name, escaped(&one.version));
    if !matches!(one.kind, "deb" | "apk") {
        let parts: Vec<String> = name.split('/').map(escaped).collect();
        return format!("pkg:{}/{}@{version}", one.kind, parts.join("/"));
    }
    let (id, release) = &found.distribution;
    let distribution = escaped(if id.is_empty() { one.kind } else { id });
    let mut url = format!("pkg:{}/{distribution}/{}@{version}", one.kind, escaped(name));
    url.push_str(&format!("?arch={}", escaped(&one.architecture)));
    if !id.is_empty() && !release.is_empty() {
        url.push_str(&format!("&distro={}-{}", escaped(id), escaped(release)));
    }
    url
}

/// As a part of a package URL.
fn escaped(text: &str) -> String {
    ferry_stdx::percent::encode(text, b":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_urls() {
        let bash = Package {
            name: "g++".to_owned(),
            version: "4:12.2.0-3".to_owned(),
            architecture: "amd64".to_owned(),
            license: None,
            kind: "deb",
        };
        let distribution = ("debian".to_owned(), "12".to_owned());
        let found = Packages { distribution, all: vec![bash] };
        let image = Digest::sha256_of(b"x");
        let document = document("app", &image, "2024-01-02T03:04:05.678Z", &found);
        assert_eq!(
            document["packages"][0]["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/g%2B%2B@4:12.2.0-3?arch=amd64&distro=debian-12"
        );
        assert_eq!(document["creationInfo"]["created"], "2024-01-02T03:04:05Z");
        let (package, relation) = (&document["packages"][0], &document["relationships"][0]);
        assert_eq!(package["SPDXID"], relation["relatedSpdxElement"]);
    }
}
