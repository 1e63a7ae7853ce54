//! Sandboxes, fixture images, fake registry, golden files
