use std::{path::PathBuf, sync::Arc};

use ferry_db::Db;
use ferry_model::image::Image;
use ferry_oci::{Digest, Reference};
use ferry_stdx::time::Timestamp;

use crate::{ImageError, ImageStore, User, Users};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ferry-image-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn store(&self) -> ImageStore {
        ImageStore::open(Arc::new(Db::open(&self.0.join("db")).unwrap())).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn image(comment: &str) -> Image {
    let config_json = format!(r#"{{"os":"linux","architecture":"amd64","comment":"{comment}"}}"#);
    Image {
        id: Digest::sha256_of(config_json.as_bytes()),
        config_json,
        manifest: None,
        stored: Timestamp::default(),
        size: 1,
    }
}

fn put(store: &ImageStore, comment: &str, names: &[&str]) -> Digest {
    let names: Vec<_> =
        names.iter().map(|name| Reference::parse(name).unwrap().with_default_tag()).collect();
    store.put(image(comment), &names, Timestamp::default()).unwrap().image.id.clone()
}

#[test]
fn found_by_name_id_and_beginning_of_an_id_after_a_restart() {
    let scratch = Scratch::new("find");
    let id = put(&scratch.store(), "a", &["app", "reg:5000/app:2"]);
    let store = scratch.store();
    for name in [
        "app",
        "app:latest",
        "docker.io/library/app",
        "reg:5000/app:2",
        &id.to_string(),
        id.hex().get(..8).unwrap(),
    ] {
        assert_eq!(store.get(name).unwrap().entry.image.id, id, "{name}");
    }
    assert_eq!(store.get("app").unwrap().tags, ["app:latest", "reg:5000/app:2"]);
    assert_eq!(store.get("other").unwrap_err().to_string(), "No such image: other:latest");
}

#[test]
fn a_name_that_moves_leaves_the_old_image_nameless() {
    let scratch = Scratch::new("move");
    let store = scratch.store();
    let old = put(&store, "old", &["app"]);
    let new = put(&store, "new", &["app"]);
    assert_eq!(store.get("app").unwrap().entry.image.id, new);
    assert!(store.get(&old.to_string()).unwrap().tags.is_empty());
}

#[test]
fn removing_follows_dockers_rules() {
    let scratch = Scratch::new("remove");
    let store = scratch.store();
    let id = put(&store, "a", &["one", "two"]);
    let nobody = Users::new();

    let by_id = store.plan_removal(&id.to_string(), false, &nobody).unwrap_err().to_string();
    assert!(
        by_id.ends_with("(must be forced) - image is referenced in multiple repositories"),
        "{by_id}"
    );
    let first = store.plan_removal("one", false, &nobody).unwrap();
    assert_eq!((first.untag.as_slice(), first.delete), (&["one:latest".to_owned()][..], false));
    store.remove(&first).unwrap();

    let stopped: Users =
        [(id.clone(), vec![User { container: "c0ffee".repeat(10), running: false }])].into();
    let used = store.plan_removal("two", false, &stopped).unwrap_err();
    assert!(
        matches!(&used, ImageError::Conflict(words)
        if words.starts_with("conflict: unable to remove repository reference \"two\" (must force)")),
        "{used}"
    );
    assert!(!store.plan_removal("two", true, &stopped).unwrap().delete);

    let last = store.plan_removal("two", false, &nobody).unwrap();
    assert!(last.delete);
    store.remove(&last).unwrap();
    assert!(scratch.store().list().is_empty());
}

#[test]
fn images_of_other_platforms_stand_beside_a_name_and_go_with_it() {
    let scratch = Scratch::new("variants");
    let (main, arm) = {
        let store = scratch.store();
        let arm = put(&store, "arm", &[]);
        let main = put(&store, "main", &["app"]);
        let app = Reference::parse("app").unwrap().with_default_tag();
        store.put_variants(&main, &[app], std::slice::from_ref(&arm)).unwrap();
        (main, arm)
    };
    let store = scratch.store();
    let beside = |name: &str| -> Vec<Digest> {
        let key = Reference::parse(name).unwrap().with_default_tag().canonical();
        store.variants(&key).iter().map(|entry| entry.image.id.clone()).collect()
    };
    assert_eq!(beside("app"), std::slice::from_ref(&arm));
    assert_eq!(store.list().len(), 1);
    let other = Reference::parse("other:2").unwrap();
    store.tag("app", &other, Timestamp::default()).unwrap();
    assert_eq!(beside("other:2"), std::slice::from_ref(&arm));
    // A name that is given to another image has nothing beside it; the other name still has.
    put(&store, "new", &["app"]);
    assert!(beside("app").is_empty());
    assert_eq!(store.list().len(), 2);
    let used = Users::from([(arm.clone(), vec![User { container: "c".into(), running: true }])]);
    assert!(store.plan_removal("other:2", false, &used).unwrap().others.is_empty());
    let plan = store.plan_removal("other:2", false, &Users::new()).unwrap();
    assert_eq!((plan.delete, plan.others.as_slice()), (true, [arm.clone()].as_slice()));
    store.remove(&plan).unwrap();
    assert!(store.get(&arm.to_string()).is_err() && store.get(&main.to_string()).is_err());
    drop(store);
    assert_eq!(scratch.store().list().len(), 1);
}

#[test]
fn an_image_that_another_name_has_beside_it_loses_its_own_name_only() {
    let scratch = Scratch::new("beside");
    let store = scratch.store();
    let arm = put(&store, "arm", &["arm"]);
    let main = put(&store, "main", &["app"]);
    let app = Reference::parse("app").unwrap().with_default_tag();
    store.put_variants(&main, &[app], std::slice::from_ref(&arm)).unwrap();
    let plan = store.plan_removal("arm", false, &Users::new()).unwrap();
    assert_eq!((plan.delete, plan.untag.as_slice()), (false, ["arm:latest".to_owned()].as_slice()));
    store.remove(&plan).unwrap();
    let refused = store.plan_removal(&arm.to_string(), true, &Users::new()).unwrap_err();
    assert!(refused.to_string().contains("one of the platforms of docker.io/library/app:latest"));
    let plan = store.plan_removal("app", false, &Users::new()).unwrap();
    store.remove(&plan).unwrap();
    assert!(store.list().is_empty() && store.get(&arm.to_string()).is_err());
}
