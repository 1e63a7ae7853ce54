//! `extends`: a service on top of another one, of the same file or of another.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    LoadError, Loader,
    consistency::{place_of, placed},
    merge, near, paths,
    schema::{FILE, Kind, SERVICE_KIND},
};

/// Chains of `extends` are no longer than this.
const MAX_EXTENDS: usize = 32;

impl Loader<'_> {
    pub(super) fn extend_all(&mut self, tree: &mut Value, path: &Path) -> Result<(), LoadError> {
        let names: Vec<String> = tree["services"]
            .as_object()
            .map(|services| services.keys().cloned().collect())
            .unwrap_or_default();
        let mut wrong: Vec<String> = Vec::new();
        // A mistake is told once, however many services it is a part of.
        let mut told: Vec<(String, PathBuf)> = Vec::new();
        for name in names {
            let mut chain = Vec::new();
            match self.extended(tree, &name, path, &mut chain) {
                Ok(extended) => tree["services"][&name] = extended,
                Err(error @ (LoadError::Invalid(_) | LoadError::Open { .. })) => {
                    let words = error.to_string();
                    if !chain.iter().any(|one| told.contains(one)) {
                        wrong.push(words);
                    }
                    told.append(&mut chain);
                }
                Err(other) => return Err(other),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(LoadError::Invalid(wrong.join("\n"))) }
    }

    /// A service with what it extends below it; `chain` is what extends it, and after a mistake all that has a part in it.
    fn extended(
        &mut self,
        tree: &Value,
        name: &str,
        path: &Path,
        chain: &mut Vec<(String, PathBuf)>,
    ) -> Result<Value, LoadError> {
        let mut service = tree["services"][name].clone();
        let Some(extends) = service.as_object_mut().and_then(|map| map.shift_remove("extends"))
        else {
            return Ok(service);
        };
        let this = (name.to_owned(), path.to_owned());
        let circle = chain.contains(&this);
        let at = place_of(&self.places, &format!("services.{name}.extends.service"));
        if circle || chain.len() > MAX_EXTENDS {
            let lines: Vec<String> = chain
                .iter()
                .chain([&this])
                .map(|(name, path)| format!("{name} in {}", path.display()))
                .collect();
            let words = format!("Circular reference:\n  {}", lines.join("\n  extends "));
            let hint = match circle {
                true => "one of them has to stand without the others".to_owned(),
                false => format!("chains of extends are no longer than {MAX_EXTENDS}"),
            };
            return Err(LoadError::Invalid(placed(&words, at, Some(hint))));
        }
        chain.push(this);
        let base_name = extends["service"].as_str().unwrap_or_default().to_owned();
        let extending = Extending { name, base: &base_name, at: at.clone() };
        let mut base = match extends["file"].as_str() {
            None => self.base(tree, &extending, path, chain)?,
            Some(file) => {
                let other = paths::absolute(&self.directory, file);
                let mut whole = json!({});
                // A service there is another one than that of its name here.
                let places = std::mem::take(&mut self.places);
                let documents = match self.documents(&other) {
                    Ok(documents) => documents,
                    Err(error) => {
                        self.places = places;
                        return Err(match &extending.at {
                            Some(at) => error.named_at(at),
                            None => error,
                        });
                    }
                };
                for document in documents {
                    merge::merge(&mut whole, document.value, &Kind::Object(FILE));
                }
                // What that file says is relative to where it lies, and so is what it extends itself.
                let below = other.parent().unwrap_or(Path::new("/")).to_owned();
                let outer = std::mem::replace(&mut self.directory, below);
                let base = self.base(&whole, &extending, &other, chain);
                let below = std::mem::replace(&mut self.directory, outer);
                self.places = places;
                let mut base = base?;
                if !self.request.keep_paths {
                    paths::resolve_service(&mut base, &below);
                }
                base
            }
        };
        chain.pop();
        merge::merge(&mut base, service, &SERVICE_KIND);
        Ok(base)
    }

    fn base(
        &mut self,
        tree: &Value,
        extending: &Extending<'_>,
        path: &Path,
        chain: &mut Vec<(String, PathBuf)>,
    ) -> Result<Value, LoadError> {
        let Extending { name, base, at } = extending;
        if tree["services"].get(*base).is_some() {
            return self.extended(tree, base, path, chain);
        }
        let words = format!(
            "cannot extend service {name:?} in {}: service {base:?} not found",
            path.display()
        );
        let known = tree["services"].as_object().into_iter().flat_map(|services| services.keys());
        let known = known.map(String::as_str).filter(|known| known != name);
        let hint = near::nearest(base, known).map(near::hint);
        Err(LoadError::Invalid(placed(&words, at.clone(), hint)))
    }
}

/// One service that extends another.
struct Extending<'a> {
    name: &'a str,
    base: &'a str,
    /// Where it says so.
    at: Option<String>,
}
